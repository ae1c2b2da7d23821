// libwebsockets for Swift: its header, and functions in place of macros, of it and of the OpenSSL that it is built on,
// that Swift cannot import.
#ifndef CLIBWEBSOCKETS_SHIM_H
#define CLIBWEBSOCKETS_SHIM_H

#include <fcntl.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/// The number of bytes that lws_write needs in front of a payload.
static const int CLibwebsockets_pre = LWS_PRE;

static const uint64_t CLibwebsockets_option_tls = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
static const uint64_t CLibwebsockets_option_explicit_vhosts = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;

/// A timer that ends the wait of `lws_service`. libwebsockets runs due timers only once before it waits. If the
/// callback did nothing, libwebsockets would then wait for the next timer, or for ever. So the callback cancels the
/// wait.
struct CLibwebsockets_alarm {
    lws_sorted_usec_list_t timer;
    struct lws_context *context;
};

static inline void CLibwebsockets_alarm_fired(lws_sorted_usec_list_t *timer) {
    lws_cancel_service(lws_container_of(timer, struct CLibwebsockets_alarm, timer)->context);
}

/// Sets the alarm to `delay` microseconds from now, in place of an earlier setting. On the service's thread.
static inline void CLibwebsockets_alarm_set(struct CLibwebsockets_alarm *alarm, lws_usec_t delay) {
    lws_sul_schedule(alarm->context, 0, &alarm->timer, CLibwebsockets_alarm_fired, delay > 0 ? delay : 1);
}

static inline void CLibwebsockets_alarm_stop(struct CLibwebsockets_alarm *alarm) {
    lws_sul_cancel(&alarm->timer);
}

/// Whether the other side has ended the connection, by FIN, by RST, or by TLS's close_notify, which arrives before the
/// FIN.
static inline int CLibwebsockets_peer_has_ended(struct lws *wsi) {
    SSL *tls = lws_get_ssl(wsi);
    if (tls && SSL_get_shutdown(tls) & SSL_RECEIVED_SHUTDOWN) return 1;
    struct tcp_info info;
    socklen_t length = sizeof(info);
    if (getsockopt(lws_get_socket_fd(wsi), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return 1;
    return info.tcpi_state != TCP_ESTABLISHED && info.tcpi_state != TCP_FIN_WAIT1 && info.tcpi_state != TCP_FIN_WAIT2;
}

/// The size of the buffer for the name that `CLibwebsockets_anchor` writes.
enum { CLibwebsockets_anchor_size = 16 };

/// Makes a Unix socket whose queue is full, so that connecting to it never finishes, and writes its name in the form
/// that libwebsockets accepts as an address. Returns the socket, or -1.
static inline int CLibwebsockets_anchor(char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    int listener = socket(AF_UNIX, type, 0);
    // Without a path, the system finds a free abstract name: a zero byte and five characters.
    int done = listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0
        && listen(listener, 0) == 0 && getsockname(listener, (struct sockaddr *)&address, &length) == 0
        && length - sizeof(sa_family_t) < CLibwebsockets_anchor_size - 2;
    int filler = done ? socket(AF_UNIX, type, 0) : -1;
    if (filler < 0 || connect(filler, (struct sockaddr *)&address, length) != 0) {
        if (filler >= 0) close(filler);
        if (listener >= 0) close(listener);
        return -1;
    }
    // Its connection stays in the queue.
    close(filler);
    size_t count = length - sizeof(sa_family_t) - 1;
    name[0] = '+';
    name[1] = '@';
    memcpy(name + 2, address.sun_path + 1, count);
    name[2 + count] = 0;
    return listener;
}

// unistd.h declares it only with _GNU_SOURCE, which would define fd_set differently from Swift's Glibc module.
extern int dup3(int from, int to, int flags);

/// Replaces the socket that libwebsockets is connecting, which is closed, by a connected one. Returns 1 on success. The
/// caller keeps ownership of `descriptor`.
static inline int CLibwebsockets_adopt(struct lws *wsi, int descriptor) {
    int own = lws_get_socket_fd(wsi);
    return own >= 0 && dup3(descriptor, own, O_CLOEXEC) == own;
}

/// Has libwebsockets do what it does when `poll` says that the socket can take more: it sends a control frame that it
/// owes, or else calls LWS_CALLBACK_CLIENT_WRITEABLE. On the service's thread, outside of callbacks. Afterwards the
/// connection may be gone.
static inline void CLibwebsockets_service_writable(struct lws *wsi) {
    struct lws_pollfd poll = {.fd = lws_get_socket_fd(wsi), .events = LWS_POLLOUT, .revents = LWS_POLLOUT};
    (void)lws_service_fd(lws_get_context(wsi), &poll);
}

/// Turns off the proxies that the environment names; libwebsockets would use them by default.
static inline void CLibwebsockets_no_proxies(struct lws_context_creation_info *info) {
    info->http_proxy_address = "";
#if defined(LWS_WITH_SOCKS5)
    info->socks_proxy_address = "";
#endif
}

/// Makes closing the descriptor send RST and drop the data in the system's buffers.
static inline void CLibwebsockets_reset_on_close(int descriptor) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/// Creates a client's context that verifies certificates, and trusts no authority yet. Returns NULL on failure.
static inline SSL_CTX *CLibwebsockets_tls_new(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return context;
}

/// Replaces the trusted authorities by those in a PEM file, or by the system's if `file` is NULL. Returns 1 on success.
static inline int CLibwebsockets_tls_trust(SSL_CTX *context, const char *file) {
    X509_STORE *store = X509_STORE_new();
    if (!store) return 0;
    int done = file ? X509_STORE_load_file(store, file) : X509_STORE_set_default_paths(store);
    ERR_clear_error();
    if (done == 1) SSL_CTX_set_cert_store(context, store);
    else X509_STORE_free(store);
    return done;
}

/// Frees the trusted authorities: none is left. If memory is exhausted, they stay.
static inline void CLibwebsockets_tls_forget(SSL_CTX *context) {
    X509_STORE *store = X509_STORE_new();
    if (store) SSL_CTX_set_cert_store(context, store);
}

/// Returns the reason of a failed verification, or NULL. `store_context` is the user pointer of
/// LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION.
static inline const char *CLibwebsockets_verify_error(void *store_context) {
    int error = X509_STORE_CTX_get_error((X509_STORE_CTX *)store_context);
    return error == X509_V_OK ? NULL : X509_verify_cert_error_string(error);
}

#endif
