// OpenSSL 3 for Swift: its headers, and functions in place of the macros and variadics that Swift cannot import.
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <sys/time.h>

/// Creates a key pair on P-256. Returns NULL on failure.
static inline EVP_PKEY *COpenSSL_generate_p256(void) { return EVP_EC_gen("P-256"); }

/// Restricts a context to DTLS 1.2, without compression, tickets, renegotiation and session cache. Returns 1 on
/// success.
static inline int COpenSSL_restrict_to_dtls12(SSL_CTX *context) {
    SSL_CTX_set_options(
        context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_QUERY_MTU
                     | SSL_OP_SINGLE_ECDH_USE | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) == 1
        && SSL_CTX_set_max_proto_version(context, DTLS1_2_VERSION) == 1;
}

static inline int COpenSSL_set_groups(SSL_CTX *context, const char *list) {
    return (int)SSL_CTX_set1_groups_list(context, list);
}

/// Sets the maximum size of a packet and of a record. Smaller sizes make smaller buffers.
static inline void COpenSSL_set_sizes(SSL *ssl, long link_mtu, long max_fragment) {
    DTLS_set_link_mtu(ssl, link_mtu);
    SSL_set_max_send_fragment(ssl, max_fragment);
}

/// Returns the microseconds until the handshake's retransmission timer expires, or -1 when it does not run.
static inline int64_t COpenSSL_timeout(SSL *ssl) {
    struct timeval left;
    if (DTLSv1_get_timeout(ssl, &left) != 1) return -1;
    return (int64_t)left.tv_sec * 1000000 + left.tv_usec;
}

static inline int COpenSSL_handle_timeout(SSL *ssl) { return (int)DTLSv1_handle_timeout(ssl); }

/// Reports that a BIO's read has nothing yet.
static inline void COpenSSL_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void COpenSSL_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }

/// Creates a client's context for TLS 1.2 and 1.3 without compression and renegotiation, which verifies certificates
/// and trusts no authority yet. Returns NULL on failure.
static inline SSL_CTX *COpenSSL_tls_client(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return context;
}

static inline void COpenSSL_require_tls13(SSL_CTX *context) {
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
}

/// Adds the trusted authorities in a PEM file, or the system's if `file` is NULL. Returns 1 on success.
static inline int COpenSSL_tls_trust(SSL_CTX *context, const char *file) {
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    int done = file ? X509_STORE_load_file(store, file) : X509_STORE_set_default_paths(store);
    ERR_clear_error();
    return done;
}

/// Requires that the certificate is for this name or numeric address, and sends a name in SNI. Returns 1 on success.
static inline int COpenSSL_verify_name(SSL *ssl, const char *name) {
    X509_VERIFY_PARAM *parameters = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int isAddress = X509_VERIFY_PARAM_set1_ip_asc(parameters, name);
    ERR_clear_error();
    if (isAddress == 1) return 1;
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static inline int COpenSSL_select_http1(
    SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered, unsigned int count,
    void *argument) {
    static const unsigned char http1[] = "\x08http/1.1";
    (void)ssl, (void)argument;
    int result = SSL_select_next_proto((unsigned char **)chosen, length, http1, sizeof http1 - 1, offered, count);
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/// Creates a server's context for TLS 1.2 and 1.3 without compression and renegotiation, which chooses HTTP/1.1 by ALPN
/// (RFC 7301). Returns NULL on failure.
static inline SSL_CTX *COpenSSL_tls_server(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // Tickets resume a session; a cache would grow with every client that has none.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_alpn_select_cb(context, COpenSSL_select_http1, NULL);
    return context;
}

enum {
    /// The bytes of a name of a key of session tickets, of its part for AES-256, and of that for HMAC-SHA256.
    COpenSSL_ticket_name_length = 16,
    COpenSSL_ticket_part_length = 32,
};

/// Prepares the encryption or decryption of a session ticket. Returns 1 on success.
static inline int COpenSSL_use_ticket_key(
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const uint8_t *cipher_key, const uint8_t *mac_key,
    const unsigned char *iv, int encrypts) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)mac_key, COpenSSL_ticket_part_length),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, cipher_key, iv, encrypts) == 1
        && EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/// Adds an extension in the notation of openssl.cnf to a certificate that signs itself. Returns 1 on success.
static inline int COpenSSL_add_extension(X509 *certificate, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    if (!extension) return 0;
    int done = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return done;
}

static inline const char *COpenSSL_error_text(unsigned long code) {
    const char *text = ERR_reason_error_string(code);
    return text ? text : "unknown";
}
