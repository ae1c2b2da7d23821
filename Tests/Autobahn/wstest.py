# Python 2.7, in the virtualenv that `run` makes. Runs Autobahn's wstest, which listens on all addresses and on a fixed
# port, on a free port of 127.0.0.1 instead, and prints that port.
from __future__ import print_function

import sys

from autobahntestsuite import choosereactor  # Before twisted's reactor.
from twisted.internet import reactor

listen = reactor.listenTCP


def listen_on_loopback(port, factory, backlog=50, interface=""):
    listening = listen(0, factory, backlog, "127.0.0.1")
    # The port that requests must name.
    factory.externalPort = listening.getHost().port
    print("LISTENING", factory.externalPort)
    sys.stdout.flush()
    return listening


reactor.listenTCP = listen_on_loopback

from autobahntestsuite.wstest import run

run()
