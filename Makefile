# Rooms of peers that stay connected. A newcomer needs only `make demo` and `make test`; both install missing packages.

PACKAGES := libwebsockets-dev libnice-dev libglib2.0-dev libssl-dev libusrsctp-dev zlib1g-dev pkg-config
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
empty :=
SANITIZED := $(subst $(empty) $(empty),|,$(strip \
	TransportValues WebSocketWire TransportToolbox NetworkMonitor RoomProtocol RoomCore RoomServerCore RoomSimulation \
	FileTransfer InProcessTransport RoomConnection RoomKit RoomServer SignalingFoundation SignalingLibwebsockets \
	SignalingNIO ICELibnice PeerWebRTC))

CLIENT := Sources/RoomPage/Client

# Where `make install` puts the command, its settings, and everything under a folder for packages.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
DEPLOYMENT := Sources/RoomServer/Deployment

.PHONY: help release install uninstall demo test test-client test-vectors test-tsan test-asan test-plugin \
	test-tutorial test-first-program test-interop test-browsers test-cluster test-autobahn test-neighbour test-lab \
	lab test-mutations simulate fuzz nightly bench bench-files bench-server micro format lint docs dependencies clean

help:
	@echo "make demo          build and run the demo: a server and two peers that lose everything and heal"
	@echo "make install       a release build, installed as a command and a service (PREFIX=/usr/local, DESTDIR);"
	@echo "                   make uninstall removes it"
	@echo "make test          run every test"
	@echo "make test-client   the client for browsers: its tests under node, its types, its size"
	@echo "make test-vectors  RUNS=2000 schedules of RoomCore's machines, which the client for browsers must reproduce"
	@echo "                   call by call; VECTORS= for long ones instead of --short"
	@echo "make test-tsan     the tests under ThreadSanitizer (test-asan: AddressSanitizer)"
	@echo "make test-interop  against Chromium, aiortc, libdatachannel, libwebrtc and Pion"
	@echo "make test-browsers Chromium and Firefox in rooms, through outages (root); an hour"
	@echo "make simulate      rooms and clusters with all their faults in virtual time, RUNS=10000 seeds from SEED=1"
	@echo "make test-mutations  proves that the simulation finds bugs"
	@echo "make test-lab      outages in network namespaces, the short table, with messages and with a file (root);"
	@echo "                   make lab: all of it, two hours"
	@echo "make test-neighbour  one address does what it can to a server, another one joins within 100 ms"
	@echo "make test-cluster  three nodes and Redis as processes: each part is killed, stopped and cut off in turn"
	@echo "make test-autobahn every WebSocket implementation here against Autobahn's test suite (Python 2.7, or root)"
	@echo "make fuzz          every decoder, SECONDS=30 each, and its time per byte"
	@echo "make nightly       what takes hours: NIOSSL, a release build's tests, sanitizers, Autobahn, interop, the next"
	@echo "                   Debian"
	@echo "make bench         release build, beside the C reference"
	@echo "make bench-files   a file of 1 GB through room send and room receive, beside a stream"
	@echo "make bench-server  the room server under load: joins, signals, idle clients, outages, a bad neighbour"
	@echo "make micro         micro-benchmarks of hot paths (FILTER=REGEX)"
	@echo "make docs          the documentation of every product, into docs-build/"
	@echo "make lint          what CI checks besides the tests; make format repairs the format"

dependencies:
	@missing=""; for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' \
			|| missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "Installing$$missing"; \
		$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
	fi

demo: dependencies
	swift build --product room
	@$$(swift build --product room --show-bin-path)/room demo

release: dependencies
	ROOM_INSTALLED=1 swift build -c release --product room

# As the user who builds; with root's rights only where they are needed.
install: release
	@room=$$(ROOM_INSTALLED=1 swift build -c release --product room --show-bin-path)/room; \
		mkdir -p "$(DESTDIR)$(PREFIX)/bin" 2>/dev/null && [ -w "$(DESTDIR)$(PREFIX)/bin" ] || as="$(SUDO)"; \
		runtime=$$(swift -print-target-info | sed -n '/"runtimeLibraryPaths"/{n;s/.*"\(.*\)".*/\1/p}'); \
		$$as env PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" DESTDIR="$(DESTDIR)" RUNTIME="$$runtime" \
			$(DEPLOYMENT)/install "$$room"

uninstall:
	@[ -w "$(DESTDIR)$(PREFIX)/bin" ] || as="$(SUDO)"; \
		$$as env PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" DESTDIR="$(DESTDIR)" $(DEPLOYMENT)/install --uninstall

test: dependencies
	swift build --build-tests
	swift test --skip-build --no-parallel
	ROOM=$$(swift build --show-bin-path)/room Tests/NetworkLab/run --short --untimed

test-neighbour: dependencies
	swift build -c release --product room
	ROOM=$$(swift build -c release --show-bin-path)/room Tests/Neighbour/run

test-client:
	@$(MAKE) --no-print-directory dependencies PACKAGES="nodejs node-typescript terser" \
		|| echo "SKIPPED: what needs the packages that are missing"
	@if command -v node > /dev/null; then \
		ROOM="$${ROOM:-$$(ls .build/debug/room 2>/dev/null || echo room)}" node --test Tests/BrowserClient \
			&& NODE_PATH=/usr/share/nodejs node Tests/BrowserClient/size.mjs; \
	else echo "SKIPPED: the tests of the browser client, and its size: node is missing"; fi
	@if command -v tsc > /dev/null; then \
		tsc --allowJs --checkJs --strict --noEmit --target es2020 --module es2020 --lib es2020,dom \
			$(CLIENT)/*.js $(CLIENT)/*.d.ts; \
	else echo "SKIPPED: the types of the browser client: tsc is missing"; fi

VECTORS ?= --short
test-vectors: RUNS = 2000
test-vectors: dependencies
	swift build -c release --product room
	@room=$$(swift build -c release --product room --show-bin-path)/room; \
	for groups in "room delivery streams exchange" walks codec; do \
		echo "$$groups:"; \
		$$room simulate --vectors - $$(printf -- '--group %s ' $$groups) $(VECTORS) --seed $(SEED) --runs $(RUNS) \
			| node Tests/BrowserClient/replay.mjs --schedules $(RUNS) - || exit 1; \
	done

test-tsan: dependencies
	TSAN_OPTIONS="suppressions=$(CURDIR)/Tests/tsan.supp halt_on_error=0" \
		swift test --sanitize=thread --scratch-path .build-tsan --no-parallel --filter '^($(SANITIZED))Tests'

test-asan: dependencies
	ASAN_OPTIONS="detect_leaks=1" LSAN_OPTIONS="suppressions=$(CURDIR)/Tests/lsan.supp" \
		swift test --sanitize=address --scratch-path .build-asan --no-parallel --filter '^($(SANITIZED))Tests'

test-plugin: dependencies
	swift build --product room
	swift build --package-path Tests/TrivialPlugin --scratch-path .build-plugin
	ROOM_PLUGINS=.build-plugin/debug/libTrivialPlugin.so \
		$$(swift build --product room --show-bin-path)/room plugins | grep -A1 trivial
	LOADABLE=1 swift build --package-path Tests/TutorialPlugin --product TCPPeers --scratch-path .build-loadable
	$$(swift build --product room --show-bin-path)/room conform .build-loadable/debug/libTCPPeers.so
	$$(swift build --product room --show-bin-path)/room conform .build-plugin/debug/libTrivialPlugin.so; [ $$? = 5 ]
	ROOM_PLUGINS=$(CURDIR)/.build-loadable/debug/libTCPPeers.so swift test --no-parallel --filter MatrixTests

test-tutorial: dependencies
	swift test --package-path Tests/TutorialPlugin --scratch-path .build-tutorial

test-first-program: dependencies
	swift build --product room
	ROOM=$$(swift build --show-bin-path)/room Tests/FirstProgram/run

test-interop: dependencies
	swift build --product room
	Tests/Interop/run

test-browsers: dependencies
	@if command -v node > /dev/null; then node Tests/BrowserClient/real-browsers.mjs; \
		else echo "SKIPPED: the client's connections in real browsers: node is missing"; fi
	Tests/Browsers/run $(BROWSERS) \
		--json Benchmarks/reports/browsers.json --markdown Benchmarks/reports/browsers.md

RUNS ?= 10000
SEED ?= 1
simulate: dependencies
	swift build -c release --product room
	@room=$$(swift build -c release --product room --show-bin-path)/room && \
		$$room simulate --seed $(SEED) --runs $(RUNS) $(if $(REPORT),--report $(REPORT)) && \
		$$room simulate --cluster --seed $(SEED) --runs $(RUNS) $(if $(REPORT),--report $(REPORT).cluster)

test-mutations:
	Tests/Mutations/run

test-lab: dependencies
	swift build -c release --product room
	ROOM=$$(swift build -c release --product room --show-bin-path)/room Tests/NetworkLab/run --short
	ROOM=$$(swift build -c release --product room --show-bin-path)/room Tests/NetworkLab/run --short --file

lab: dependencies
	swift build -c release --product room
	ROOM=$$(swift build -c release --product room --show-bin-path)/room Tests/NetworkLab/run $(LAB) \
		--json Benchmarks/reports/network-lab.json --markdown Benchmarks/reports/network-lab.md

test-cluster: dependencies
	@$(MAKE) --no-print-directory dependencies PACKAGES="redis-server" || echo "SKIPPED: redis-server is missing"
	swift build --product room
	ROOM=$$(swift build --show-bin-path)/room Tests/Cluster/run --long --rooms 100

test-autobahn: dependencies
	Tests/Autobahn/run $(SUBJECTS)

SECONDS ?= 30
fuzz: dependencies
	Tests/Fuzz/run $(SECONDS)

nightly:
	.ci/nightly $(STEPS)

bench: dependencies
	swift build -c release --product room
	$(MAKE) -C Benchmarks/reference
	@$$(swift build -c release --product room --show-bin-path)/room bench --reference Benchmarks/.build/reference $(BENCH)

bench-files: dependencies
	swift build -c release --product room
	Benchmarks/files.py $$(swift build -c release --product room --show-bin-path)/room $(FILES)

bench-server: dependencies
	swift build -c release --product room
	$(MAKE) -C Benchmarks/reference load
	Benchmarks/server.py $$(swift build -c release --product room --show-bin-path)/room $(SERVER) \
		--json Benchmarks/reports/server.json --markdown Benchmarks/reports/server.md

FILTER ?= .*
micro: dependencies
	cd Benchmarks && swift package --disable-sandbox benchmark --filter '$(FILTER)'

format:
	swift format format -i -r Package.swift Sources Plugins Tests Benchmarks/Package.swift Benchmarks/HotPaths

lint:
	.ci/lint

docs: dependencies
	.ci/docs

clean:
	rm -rf .build .build-* docs-build
