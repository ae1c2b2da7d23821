// libnice for Swift: its headers, functions in place of the macros and variadics that Swift cannot import, and the
// calls for datagrams of Linux that Swift cannot express (control messages, socket filters).
#ifndef CNICE_SHIM_H
#define CNICE_SHIM_H

#include <nice/agent.h>
#include <nice/interfaces.h>

#include "datagrams.h"
#include "descriptors.h"

typedef void (*CNice_candidate_callback)(NiceAgent *, NiceCandidate *, gpointer);
typedef void (*CNice_stream_callback)(NiceAgent *, guint stream, gpointer);
typedef void (*CNice_pair_callback)(
    NiceAgent *, guint stream, guint component, NiceCandidate *local, NiceCandidate *remote, gpointer);
typedef void (*CNice_state_callback)(NiceAgent *, guint stream, guint component, guint state, gpointer);

/// Creates an agent with trickle ICE (RFC 8838) and without consent freshness: the peer transport checks liveness.
/// Returns NULL when libnice refuses.
static inline NiceAgent *CNice_agent_new(
    GMainContext *context, gboolean controlling, gboolean aggressive, gboolean relay_only, gboolean tcp,
    guint pacing_ms, guint idle_ms, guint pairs) {
    NiceAgentOption options = NICE_AGENT_OPTION_ICE_TRICKLE;
    if (!aggressive) options |= NICE_AGENT_OPTION_REGULAR_NOMINATION;
    NiceAgent *agent = nice_agent_new_full(context, NICE_COMPATIBILITY_RFC5245, options);
    if (agent == NULL) return NULL;
    // In Debian's build UPnP is on by default, and would contact the router.
    g_object_set(
        agent, "controlling-mode", controlling, "force-relay", relay_only, "upnp", FALSE, "ice-udp", TRUE, "ice-tcp",
        tcp, "stun-pacing-timer", pacing_ms, "idle-timeout", idle_ms, "keepalive-conncheck", FALSE,
        "max-connectivity-checks", pairs, NULL);
    return agent;
}

static inline void CNice_set_stun_server(NiceAgent *agent, const char *host, guint port) {
    g_object_set(agent, "stun-server", host, "stun-server-port", port, NULL);
}

static inline void CNice_force_relay(NiceAgent *agent) { g_object_set(agent, "force-relay", TRUE, NULL); }

static inline void CNice_set_idle_timeout(NiceAgent *agent, guint idle_ms) {
    g_object_set(agent, "idle-timeout", idle_ms, NULL);
}

static inline void CNice_connect(
    NiceAgent *agent, CNice_candidate_callback candidate, CNice_stream_callback done, CNice_stream_callback request,
    CNice_pair_callback pair, CNice_state_callback state, gpointer data) {
    g_signal_connect(agent, "new-candidate-full", G_CALLBACK(candidate), data);
    g_signal_connect(agent, "candidate-gathering-done", G_CALLBACK(done), data);
    g_signal_connect(agent, "initial-binding-request-received", G_CALLBACK(request), data);
    g_signal_connect(agent, "new-selected-pair-full", G_CALLBACK(pair), data);
    g_signal_connect(agent, "component-state-changed", G_CALLBACK(state), data);
}

static inline void CNice_disconnect(NiceAgent *agent, gpointer data) {
    g_signal_handlers_disconnect_by_data(agent, data);
}

/// Fills `descriptors` with those of the component's sockets, at most `capacity`. Returns their number.
static inline int CNice_descriptors(NiceAgent *agent, guint stream, guint component, int *descriptors, int capacity) {
    GPtrArray *sockets = nice_agent_get_sockets(agent, stream, component);
    if (sockets == NULL) return 0;
    int count = 0;
    for (guint i = 0; i < sockets->len && count < capacity; i++) {
        GSocket *socket = G_SOCKET(g_ptr_array_index(sockets, i));
        if (socket != NULL && !g_socket_is_closed(socket)) descriptors[count++] = g_socket_get_fd(socket);
    }
    g_ptr_array_unref(sockets);
    return count;
}

/// Returns the descriptor of the selected pair's socket, or -1.
static inline int CNice_selected_descriptor(NiceAgent *agent, guint stream, guint component) {
    GSocket *socket = nice_agent_get_selected_socket(agent, stream, component);
    if (socket == NULL) return -1;
    int descriptor = g_socket_get_fd(socket);
    // This reference belongs to the caller; the agent keeps its own.
    g_object_unref(socket);
    return descriptor;
}

static inline void CNice_drop_message(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer data) {}

/// Silences libnice's warnings, since a library does not print and the caller learns the failure anyway. Criticals,
/// which report wrong calls, are still printed.
static inline void CNice_silence(void) {
    g_log_set_handler(
        "libnice", G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG, CNice_drop_message,
        NULL);
}

#endif
