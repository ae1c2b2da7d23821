// The connections: opening, TLS, upgrade, entering, frames, acknowledgements.
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct settings settings;
struct totals totals;
struct mode mode;
struct client *clients;

static struct sockaddr_in server;
static SSL_CTX *context;
static SSL_SESSION *session;  // the newest of any client
static uint8_t shared[1 << 20];

enum { acknowledgeEvery = 16 };

struct client *memberOf(struct client *client, int position) {
    return &clients[client->room * settings.members + position];
}

static int keepSession(SSL *ssl, SSL_SESSION *newest) {
    (void)ssl;
    SSL_SESSION_free(session);
    session = newest;
    return 1;
}

void prepareClients(void) {
    srand48(time(NULL) ^ getpid());
    prepareLoop();
    server.sin_family = AF_INET;
    server.sin_port = htons(settings.port);
    if (inet_pton(AF_INET, settings.address, &server.sin_addr) != 1) fail("%s is no address", settings.address);
    clients = calloc(settings.clients, sizeof *clients);
    if (!clients) fail("out of memory");
    for (int index = 0; index < settings.clients; index++) {
        clients[index] = (struct client){.descriptor = -1, .index = index, .earliest = -1,
                                         .room = index / settings.members, .position = index % settings.members};
        clients[index].nextPeer = clients[index].position;
    }
    if (!settings.isTLS && strcmp(settings.mode, "handshakes")) return;
    context = SSL_CTX_new(TLS_client_method());
    if (!context) fail("no TLS");
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keepSession);
}

// MARK: Opening and ending

static void ended(struct client *client, bool isFinal);

static void upgrade(struct client *client) {
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: room.v1\r\n\r\n";
    reserve(&client->out, sizeof request);
    memcpy(client->out.data + client->out.end, request, sizeof request - 1);
    client->out.end += sizeof request - 1;
    client->phase = upgrading;
    wake(client);
}

static void secure(struct client *client) {
    int result = SSL_do_handshake(client->ssl);
    if (result != 1) {
        int error = SSL_get_error(client->ssl, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) ended(client, false);
        return;
    }
    totals.resumed += SSL_session_reused(client->ssl);
    if (mode.joined == NULL) {  // handshakes only: the server has seen them when it answers the end
        SSL_shutdown(client->ssl);
        shutdown(client->descriptor, SHUT_WR);
        client->isLeaving = true;
        return;
    }
    upgrade(client);
}

static void opened(struct client *client) {
    watch(client, false, false);
    if (!settings.isTLS) {
        if (settings.kind && !strcmp(settings.kind, "sockets")) return mode.joined(client);
        return upgrade(client);
    }
    client->ssl = SSL_new(context);
    SSL_set_fd(client->ssl, client->descriptor);
    SSL_set_connect_state(client->ssl);
    if (settings.resumes && session) SSL_set_session(client->ssl, session);
    client->phase = securing;
    secure(client);
}

/// Its connection is there, or has failed.
void connected(struct client *client) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(client->descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) ended(client, false); else opened(client);
}

void open_(struct client *client) {
    totals.attempts++;
    client->began = now;
    client->isLeaving = client->wantsWrite = false;
    client->earliest = -1;
    client->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->descriptor < 0) fail("no descriptor: %s", strerror(errno));
    int one = 1;
    if (settings.source) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(settings.source + client->index % settings.sources);
        setsockopt(client->descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(client->descriptor, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    }
    setsockopt(client->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    client->phase = connecting;
    if (connect(client->descriptor, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) {
        return ended(client, false);
    }
    watch(client, true, true);
}

static void forget(struct client *client) {
    if (client->ssl) {
        SSL_set_shutdown(client->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);  // the session stays good
        SSL_free(client->ssl);
        client->ssl = NULL;
    }
    if (client->descriptor >= 0) close(client->descriptor);
    client->descriptor = -1;
    free(client->in.data);
    free(client->out.data);
    client->in = client->out = (struct bytes){0};
    client->phase = closed;
}

/// Resets the connection; no event follows.
void abandon(struct client *client) {
    struct linger linger = {.l_onoff = 1};
    if (client->descriptor >= 0) setsockopt(client->descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    forget(client);
}

static void ended(struct client *client, bool isFinal) {
    if (client->phase == closed) return;
    forget(client);
    if (mode.ended) mode.ended(client, isFinal);
}

// MARK: Messages

static void noteNumbered(struct client *client, uint64_t sequence) {
    if (sequence <= client->received) {
        totals.repeated++;
        return;
    }
    client->received = sequence;
    if (client->received - client->acknowledged >= acknowledgeEvery) {
        sendAcknowledgement(client);
        wake(client);
    } else {
        acknowledgeLater(client);
    }
}

static void acknowledged(struct client *client, uint64_t sequence) {
    size_t count = 0;
    for (size_t index = 0; index < client->keptCount; index++) {
        if (client->kept[index].sequence > sequence) client->kept[count++] = client->kept[index];
    }
    client->keptCount = count;
}

static void tookJoined(struct client *client, const char *text, size_t length) {
    char token[2100];
    if (!copyField(text, length, "participant", client->participant, idSize) ||
        !copyField(text, length, "session", client->session, idSize) ||
        !copyField(text, length, "sessionToken", token, sizeof token)) {
        fail("joined cannot be read: %.*s", (int)(length < 300 ? length : 300), text);
    }
    free(client->token);
    client->token = strdup(token);
    const char *resumed = field(text, length, "resumed");
    client->isResumed = resumed && *resumed == 't';
    if (client->isResumed) {
        acknowledged(client, numberField(text, length, "received", 0));
    } else {
        client->received = client->acknowledged = client->sent = 0;
    }
    client->phase = joined;
    totals.joins++;
    mode.joined(client);
}

static bool took(struct client *client, const char *text, size_t length) {
    const char *type = length > 9 && !memcmp(text, "{\"type\":\"", 9) ? text + 9 : field(text, length, "type") + 1;
    size_t left = text + length - type;
    client->heard = now;
#define IS(name) (left > sizeof name && !memcmp(type, name "\"", sizeof name))
    uint64_t acknowledgement = client->kept ? numberField(text, length, "ack", 0) : 0;
    if (acknowledgement) acknowledged(client, acknowledgement);
    if (IS("signal")) {
        totals.signals++;
        uint64_t before = client->received;
        noteNumbered(client, numberField(text, length, "seq", 0));
        if (client->received > before && mode.signalled) mode.signalled(client, text, length);
    } else if (IS("joined")) {
        tookJoined(client, text, length);
    } else if (IS("ping")) {
        char answer[64];
        sprintf(answer, "{\"type\":\"pong\",\"id\":%lu}", numberField(text, length, "id", 0));
        sendText(client, answer);
        wake(client);
        totals.pings++;
    } else if (IS("ack")) {
        if (client->kept) acknowledged(client, numberField(text, length, "received", 0));
    } else if (IS("pong")) {
    } else if (IS("error") || IS("goingAway")) {
        client->earliest = realField(text, length, "earliest", -1);
        client->latest = realField(text, length, "latest", client->earliest);
        if (IS("goingAway")) return true;
        totals.errors++;
        if (!*totals.firstError) snprintf(totals.firstError, sizeof totals.firstError, "%.*s", (int)length, text);
        const char *fatal = field(text, length, "fatal"), *retryable = field(text, length, "retryable");
        if (fatal && *fatal == 't') {
            ended(client, retryable && *retryable == 'f');
            return false;
        }
    } else {
        char token[2100];
        if (IS("hostChanged") && copyField(text, length, "sessionToken", token, sizeof token)) {
            free(client->token);
            client->token = strdup(token);
        }
        uint64_t sequence = numberField(text, length, "seq", 0);
        if (sequence) noteNumbered(client, sequence);
    }
#undef IS
    return client->phase != closed;
}

static size_t tookHead(struct client *client, const char *text, size_t length) {
    const char *end = memmem(text, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (length < 12 || memcmp(text + 9, "101", 3)) {
        const char *after = memmem(text, length, "Retry-After: ", 13);
        totals.unavailable++;
        if (after) {
            client->earliest = atof(after + 13);
            client->latest = client->earliest * 1.25;
        }
        ended(client, text[9] == '4' && memcmp(text + 9, "429", 3));
        return 0;
    }
    client->phase = entering;
    if (settings.kind && !strcmp(settings.kind, "handshakes")) {
        mode.joined(client);
    } else {
        sendHello(client);
        wake(client);
    }
    return end + 4 - text;
}

/// Takes what is complete of `data`; the rest is kept.
static void tookBytes(struct client *client, uint8_t *data, size_t length) {
    size_t offset = 0;
    if (client->phase == upgrading && !(offset = tookHead(client, (char *)data, length)) && client->phase == closed) {
        return;
    }
    while (client->phase == entering || client->phase == joined) {
        uint8_t opcode, *payload;
        size_t size;
        int taken = readFrame(data + offset, length - offset, &opcode, &payload, &size);
        if (!taken) break;
        offset += taken;
        if (opcode == 1) {
            if (!took(client, (char *)payload, size)) return;
        } else if (opcode == 8) {
            return ended(client, false);
        }
    }
    client->in.start = client->in.end = 0;
    if (offset == length) return;
    reserve(&client->in, length - offset);
    memmove(client->in.data, data + offset, length - offset);
    client->in.end = length - offset;
}

void readable(struct client *client) {
    if (client->phase == securing) {
        if (!client->isLeaving) secure(client);
        if (client->phase == securing && !client->isLeaving) return;
        if (client->phase == closed || client->phase == upgrading) return;
    }
    size_t kept = client->in.end;
    memcpy(shared, client->in.data ? client->in.data : shared, kept);
    ssize_t count;
    if (client->ssl) {
        count = SSL_read(client->ssl, shared + kept, sizeof shared - kept);
        if (count <= 0) {
            int error = SSL_get_error(client->ssl, count);
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
            count = 0;
        }
    } else {
        count = recv(client->descriptor, shared + kept, sizeof shared - kept, 0);
        if (count < 0 && errno == EAGAIN) return;
    }
    if (count < 0) totals.resets++;
    if (count <= 0) return ended(client, false);
    tookBytes(client, shared, kept + count);
}

void flushClient(struct client *client) {
    struct bytes *out = &client->out;
    while (client->phase > securing && out->start < out->end) {
        ssize_t count;
        if (client->ssl) {
            count = SSL_write(client->ssl, out->data + out->start, out->end - out->start);
            if (count <= 0) count = -1, errno = EAGAIN;
        } else {
            count = send(client->descriptor, out->data + out->start, out->end - out->start, MSG_NOSIGNAL);
        }
        if (count < 0) {
            if (errno != EAGAIN) return;  // the end will be read
            if (!client->wantsWrite) watch(client, true, false);
            return;
        }
        out->start += count;
    }
    if (client->wantsWrite && client->phase > securing) watch(client, false, false);
}

