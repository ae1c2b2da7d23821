// Messages and frames: what is sent is put together from prepared parts, what comes is searched, not parsed.
#include "load.h"

#include <unistd.h>

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

void reserve(struct bytes *bytes, size_t more) {
    if (bytes->start == bytes->end) bytes->start = bytes->end = 0;
    if (bytes->end + more <= bytes->capacity) return;
    size_t capacity = bytes->capacity ? bytes->capacity * 2 : 512;
    while (capacity < bytes->end + more) capacity *= 2;
    bytes->data = realloc(bytes->data, capacity);
    if (!bytes->data) fail("out of memory");
    bytes->capacity = capacity;
}

static void mask(uint8_t *data, size_t length) {
    uint32_t word32;
    memcpy(&word32, key, 4);
    uint64_t word = (uint64_t)word32 << 32 | word32, part;
    size_t offset = 0;
    for (; offset + 8 <= length; offset += 8) {
        memcpy(&part, data + offset, 8);
        part ^= word;
        memcpy(data + offset, &part, 8);
    }
    for (; offset < length; offset++) data[offset] ^= key[offset & 3];
}

void appendText(struct client *client, const char *text, size_t length) {
    struct bytes *out = &client->out;
    reserve(out, length + 14);
    uint8_t *to = out->data + out->end;
    *to++ = 0x81;
    if (length < 126) {
        *to++ = 0x80 | length;
    } else if (length < 65536) {
        *to++ = 0x80 | 126;
        *to++ = length >> 8;
        *to++ = length;
    } else {
        fail("a message of %zu bytes", length);
    }
    memcpy(to, key, 4);
    to += 4;
    memcpy(to, text, length);
    mask(to, length);
    out->end = to + length - out->data;
    totals.bytes += length;
}

void sendText(struct client *client, const char *text) { appendText(client, text, strlen(text)); }

void sendHello(struct client *client) {
    char text[8192];
    int length = snprintf(
        text, sizeof text,
        "{\"type\":\"hello\",\"version\":1,\"minimumVersion\":1,\"room\":\"load-%d-%u-%u\",\"role\":\"first\","
        "\"name\":\"member-%u\",\"metadata\":{},\"capabilities\":[\"delivery.v1\",\"exchange.v1\"]",
        (int)getpid(), client->room, client->round, client->position);
    if (client->token) {
        length += snprintf(
            text + length, sizeof text - length,
            ",\"resume\":{\"sessionToken\":\"%s\",\"received\":%lu,\"mustRejoin\":false,\"attempt\":%u}", client->token,
            client->received, ++client->attempt);
    }
    length += snprintf(text + length, sizeof text - length, "}");
    appendText(client, text, length);
}

void sendAcknowledgement(struct client *client) {
    char text[64];
    int length = snprintf(text, sizeof text, "{\"type\":\"ack\",\"received\":%lu}", client->received);
    client->acknowledged = client->received;
    appendText(client, text, length);
}

static char *put(char *to, const char *text) { return stpcpy(to, text); }

static char *putNumber(char *to, uint64_t number) {
    char digits[20];
    int count = 0;
    do digits[count++] = '0' + number % 10; while (number /= 10);
    while (count) *to++ = digits[--count];
    return to;
}

static char *putHex(char *to, uint64_t number, int digits) {
    while (digits--) *to++ = "0123456789abcdef"[number >> 4 * digits & 15];
    return to;
}

// An offer of a data channel, as browsers write it, about 1 KB with the rest of its message.
static const char restOfDescription[] =
    "\\r\\nt=0 0\\r\\na=group:BUNDLE 0\\r\\na=extmap-allow-mixed\\r\\na=msid-semantic: WMS\\r\\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\\r\\nc=IN IP4 0.0.0.0\\r\\n"
    "a=candidate:1467250027 1 udp 2122260223 192.0.2.17 46243 typ host generation 0 network-id 1\\r\\n"
    "a=candidate:435653019 1 tcp 1518280447 192.0.2.17 9 typ host tcptype active generation 0 network-id 1\\r\\n"
    "a=ice-ufrag:4ZcD\\r\\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlab\\r\\na=ice-options:trickle\\r\\n"
    "a=fingerprint:sha-256 6A:7B:8C:9D:0E:1F:2A:3B:4C:5D:6E:7F:80:91:A2:B3:C4:D5:E6:F7:08:19:2A:3B:4C:5D:6E:7F:80:91"
    ":A2:B3\\r\\na=setup:actpass\\r\\na=mid:0\\r\\na=sctp-port:5000\\r\\na=max-message-size:262144\\r\\n\"}}";

void sendSignal(struct client *client, struct client *receiver, uint64_t number, bool isDescription) {
    char text[2048], *to = text;
    to = putNumber(put(to, "{\"type\":\"signal\",\"seq\":"), ++client->sent);
    if (client->received > client->acknowledged) {
        client->acknowledged = client->received;
        to = putNumber(put(to, ",\"ack\":"), client->received);
    }
    to = put(put(to, ",\"peer\":\""), receiver->participant);
    to = put(put(to, "\",\"session\":\""), receiver->session);
    to = put(to, "\",\"connection\":\"c8f14e45fceea167a\",\"negotiation\":1,");
    to = put(to, isDescription ? "\"description\":{\"type\":\"offer\",\"sdp\":\"v=0\\r\\n"
                                 "o=- 4215775240449105457 2 IN IP4 127.0.0.1\\r\\ns=~"
                               : "\"candidate\":{\"candidate\":"
                                 "\"candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host ~");
    to = putHex(to, client->index, 8);
    to = putHex(to, number, 8);
    to = putHex(to, (uint64_t)(clockNow() * 1e9), 16);
    to = put(to, isDescription ? restOfDescription
                               : "\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0,\"usernameFragment\":\"4ZcD\"}}");
    appendText(client, text, to - text);
    totals.sent++;
}

static bool readHex(const char *text, int digits, uint64_t *number) {
    *number = 0;
    for (; digits; digits--, text++) {
        int digit = *text <= '9' ? *text - '0' : *text - 'a' + 10;
        if (digit < 0 || digit > 15) return false;
        *number = *number << 4 | digit;
    }
    return true;
}

bool readMark(const char *text, size_t length, uint32_t *sender, uint64_t *number, double *sentAt) {
    const char *found = memchr(text, '~', length);
    if (!found || found + 33 > text + length) return false;
    uint64_t index, nanoseconds;
    if (!readHex(found + 1, 8, &index) || !readHex(found + 9, 8, number) || !readHex(found + 17, 16, &nanoseconds)) {
        return false;
    }
    *sender = index;
    *sentAt = nanoseconds / 1e9;
    return index < (uint32_t)settings.clients;
}

/// The value of the first member with this name, at whatever depth; near the end first, where the server puts numbers.
const char *field(const char *text, size_t length, const char *name) {
    char pattern[40];
    size_t size = snprintf(pattern, sizeof pattern, "\"%s\":", name);
    const char *found = memmem(text, length, pattern, size);
    return found ? found + size : NULL;
}

uint64_t numberField(const char *text, size_t length, const char *name, uint64_t absent) {
    size_t tail = length > 64 ? length - 64 : 0;
    const char *found = field(text + tail, length - tail, name);
    if (!found && tail) found = field(text, length, name);
    return found ? strtoull(found, NULL, 10) : absent;
}

double realField(const char *text, size_t length, const char *name, double absent) {
    const char *found = field(text, length, name);
    return found ? strtod(found, NULL) : absent;
}

bool copyField(const char *text, size_t length, const char *name, char *into, size_t capacity) {
    const char *found = field(text, length, name);
    if (!found || *found++ != '"') return false;
    const char *end = memchr(found, '"', text + length - found);
    if (!end || (size_t)(end - found) >= capacity) return false;
    memcpy(into, found, end - found);
    into[end - found] = 0;
    return true;
}

/// Returns the length of the frame at the start of `data`, 0 when it is not complete.
int readFrame(uint8_t *data, size_t length, uint8_t *opcode, uint8_t **payload, size_t *payloadLength) {
    if (length < 2) return 0;
    size_t head = 2, size = data[1] & 127;
    if (size == 126) {
        if (length < 4) return 0;
        size = data[2] << 8 | data[3];
        head = 4;
    } else if (size == 127) {
        if (length < 10) return 0;
        size = (size_t)data[6] << 24 | data[7] << 16 | data[8] << 8 | data[9];
        head = 10;
    }
    if (length < head + size) return 0;
    *opcode = data[0] & 15;
    *payload = data + head;
    *payloadLength = size;
    return head + size;
}
