//     load MODE --port PORT [--address 127.0.0.1] [--pid SERVER] [--source ADDRESS [--sources N]] [--clients N]
//          [--members K] [--in-flight C] [--window W] [--descriptions PERCENT] [--seconds S] [--warm-up S]
//          [--interval S] [--spread S] [--kind KIND] [--tls] [--resume]
//
// --spread: all clients go in evenly over S seconds, not as fast as they can, so that their pings are spread too.
//
// Prints one JSON object a line. Processor time is the server's (`--pid`), all threads, from the kernel's schedstat.
//
//   joins      N clients in, C at a time, then all out; the time of the joining counts, until there are S seconds of it
//   churn      N clients in rooms of K: they join, leave when the room is whole, and join the next
//   signals    N clients in rooms of K; every member keeps W signals under way (0: it sends one each --interval
//              seconds), PERCENT of them descriptions (about 1 KB), the others candidates (about 250 B on the wire)
//   idle       N clients that answer pings, and ping when they have heard nothing for --interval seconds
//   comeback   N clients; says "ready", then waits until all were lost and are back, as the protocol's back-off has it
//   drain      the same with a signal of every member each --interval seconds all the while; counts what was lost
//   paced      one join each --interval seconds, for S seconds
//   attack     as much as goes of one KIND: sockets, handshakes, rooms; C at a time, N held
//   handshakes TLS handshakes, C at a time; --resume: with the newest session
//
// Exit: 0 done, 1 something failed (said on standard error), 2 usage.
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

static const struct {
    const char *name;
    void (*run)(void);
} modes[] = {{"joins", joins}, {"churn", churn}, {"signals", signals}, {"idle", idle}, {"comeback", comeback},
             {"drain", drain}, {"paced", paced}, {"attack", attack}, {"handshakes", handshakes}};

static _Noreturn void usage(void) {
    fputs("usage: load joins|churn|signals|idle|comeback|drain|paced|attack|handshakes --port PORT [OPTIONS]; "
          "main.c has them\n", stderr);
    exit(2);
}

int main(int count, char **arguments) {
    static const struct option options[] = {
        {"address", 1, 0, 'a'}, {"port", 1, 0, 'p'}, {"pid", 1, 0, 'P'}, {"source", 1, 0, 's'},
        {"sources", 1, 0, 'S'}, {"clients", 1, 0, 'n'}, {"members", 1, 0, 'k'}, {"in-flight", 1, 0, 'c'},
        {"window", 1, 0, 'w'}, {"descriptions", 1, 0, 'd'}, {"seconds", 1, 0, 't'}, {"warm-up", 1, 0, 'W'},
        {"interval", 1, 0, 'i'}, {"kind", 1, 0, 'K'}, {"tls", 0, 0, 'T'}, {"resume", 0, 0, 'r'},
        {"spread", 1, 0, 'R'}, {0}};
    settings = (struct settings){.address = "127.0.0.1", .clients = 1000, .members = 4, .inFlight = 64, .window = 4,
                                 .descriptions = 10, .seconds = 5, .interval = 5, .warmUp = 1, .sources = 1};
    if (count < 2) usage();
    settings.mode = arguments[1];
    for (int option; (option = getopt_long(count - 1, arguments + 1, "", options, NULL)) != -1;) {
        struct in_addr address;
        switch (option) {
        case 'a': snprintf(settings.address, sizeof settings.address, "%s", optarg); break;
        case 'p': settings.port = atoi(optarg); break;
        case 'P': settings.pid = atoi(optarg); break;
        case 's':
            if (inet_pton(AF_INET, optarg, &address) != 1) usage();
            settings.source = ntohl(address.s_addr);
            break;
        case 'S': settings.sources = atoi(optarg); break;
        case 'n': settings.clients = atoi(optarg); break;
        case 'k': settings.members = atoi(optarg); break;
        case 'c': settings.inFlight = atoi(optarg); break;
        case 'w': settings.window = atoi(optarg); break;
        case 'd': settings.descriptions = atoi(optarg); break;
        case 't': settings.seconds = atof(optarg); break;
        case 'W': settings.warmUp = atof(optarg); break;
        case 'i': settings.interval = atof(optarg); break;
        case 'R': settings.spread = atof(optarg); break;
        case 'K': settings.kind = optarg; break;
        case 'T': settings.isTLS = true; break;
        case 'r': settings.resumes = true; break;
        default: usage();
        }
    }
    if (!settings.port || settings.members < 1 || settings.members > largestRoom || settings.sources < 1 ||
        settings.clients < settings.members || settings.inFlight < 1) {
        usage();
    }
    settings.clients -= settings.clients % settings.members;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (size_t index = 0; index < sizeof modes / sizeof *modes; index++) {
        if (strcmp(modes[index].name, settings.mode)) continue;
        prepareClients();
        modes[index].run();
        return 0;
    }
    usage();
}
