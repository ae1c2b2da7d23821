// The page and the browser client, built in. The compiler records each file as a dependency: a change of one of them
// compiles this again. A test compares the list with the folders.
#include "include/CRoomPage.h"

// #embed is of C23; clang has it in every mode.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const uint8_t page_index_html[] = {
#embed "Page/index.html"
};
static const uint8_t page_conversation_js[] = {
#embed "Page/conversation.js"
};
static const uint8_t page_dom_js[] = {
#embed "Page/dom.js"
};
static const uint8_t page_entrance_js[] = {
#embed "Page/entrance.js"
};
static const uint8_t page_icon_svg[] = {
#embed "Page/icon.svg"
};
static const uint8_t page_invitation_js[] = {
#embed "Page/invitation.js"
};
static const uint8_t page_page_css[] = {
#embed "Page/page.css"
};
static const uint8_t page_page_js[] = {
#embed "Page/page.js"
};
static const uint8_t page_people_view_js[] = {
#embed "Page/people-view.js"
};
static const uint8_t page_qr_code_js[] = {
#embed "Page/qr-code.js"
};
static const uint8_t page_server_view_js[] = {
#embed "Page/server-view.js"
};
static const uint8_t page_sha256_js[] = {
#embed "Page/sha256.js"
};
static const uint8_t page_text_js[] = {
#embed "Page/text.js"
};
static const uint8_t page_timeline_js[] = {
#embed "Page/timeline.js"
};
static const uint8_t page_transfer_messages_js[] = {
#embed "Page/transfer-messages.js"
};
static const uint8_t page_transfer_protocol_js[] = {
#embed "Page/transfer-protocol.js"
};
static const uint8_t page_transfers_js[] = {
#embed "Page/transfers.js"
};
static const uint8_t client_abort_signal_js[] = {
#embed "Client/abort-signal.js"
};
static const uint8_t client_acknowledgement_watch_js[] = {
#embed "Client/acknowledgement-watch.js"
};
static const uint8_t client_acknowledgement_watches_js[] = {
#embed "Client/acknowledgement-watches.js"
};
static const uint8_t client_admitted_connection_js[] = {
#embed "Client/admitted-connection.js"
};
static const uint8_t client_agenda_js[] = {
#embed "Client/agenda.js"
};
static const uint8_t client_background_clock_js[] = {
#embed "Client/background-clock.js"
};
static const uint8_t client_backoff_js[] = {
#embed "Client/backoff.js"
};
static const uint8_t client_browser_peer_js[] = {
#embed "Client/browser-peer.js"
};
static const uint8_t client_browser_signaling_js[] = {
#embed "Client/browser-signaling.js"
};
static const uint8_t client_bulk_pace_js[] = {
#embed "Client/bulk-pace.js"
};
static const uint8_t client_bytes_js[] = {
#embed "Client/bytes.js"
};
static const uint8_t client_candidate_round_js[] = {
#embed "Client/candidate-round.js"
};
static const uint8_t client_clock_js[] = {
#embed "Client/clock.js"
};
static const uint8_t client_configuration_js[] = {
#embed "Client/configuration.js"
};
static const uint8_t client_delivery_channel_js[] = {
#embed "Client/delivery-channel.js"
};
static const uint8_t client_delivery_channels_js[] = {
#embed "Client/delivery-channels.js"
};
static const uint8_t client_delivery_link_js[] = {
#embed "Client/delivery-link.js"
};
static const uint8_t client_delivery_machine_js[] = {
#embed "Client/delivery-machine.js"
};
static const uint8_t client_delivery_memory_js[] = {
#embed "Client/delivery-memory.js"
};
static const uint8_t client_delivery_outbox_js[] = {
#embed "Client/delivery-outbox.js"
};
static const uint8_t client_delivery_protocol_js[] = {
#embed "Client/delivery-protocol.js"
};
static const uint8_t client_delivery_types_js[] = {
#embed "Client/delivery-types.js"
};
static const uint8_t client_delivery_verdict_js[] = {
#embed "Client/delivery-verdict.js"
};
static const uint8_t client_early_candidates_js[] = {
#embed "Client/early-candidates.js"
};
static const uint8_t client_errors_js[] = {
#embed "Client/errors.js"
};
static const uint8_t client_exchange_message_js[] = {
#embed "Client/exchange-message.js"
};
static const uint8_t client_exchange_record_js[] = {
#embed "Client/exchange-record.js"
};
static const uint8_t client_file_streams_js[] = {
#embed "Client/file-streams.js"
};
static const uint8_t client_frame_sending_js[] = {
#embed "Client/frame-sending.js"
};
static const uint8_t client_held_messages_js[] = {
#embed "Client/held-messages.js"
};
static const uint8_t client_ice_server_machine_js[] = {
#embed "Client/ice-server-machine.js"
};
static const uint8_t client_ice_server_selection_js[] = {
#embed "Client/ice-server-selection.js"
};
static const uint8_t client_inbox_js[] = {
#embed "Client/inbox.js"
};
static const uint8_t client_incoming_streams_js[] = {
#embed "Client/incoming-streams.js"
};
static const uint8_t client_join_deadline_js[] = {
#embed "Client/join-deadline.js"
};
static const uint8_t client_liveness_js[] = {
#embed "Client/liveness.js"
};
static const uint8_t client_message_room_js[] = {
#embed "Client/message-room.js"
};
static const uint8_t client_messages_d_ts[] = {
#embed "Client/messages.d.ts"
};
static const uint8_t client_messages_js[] = {
#embed "Client/messages.js"
};
static const uint8_t client_negotiation_machine_js[] = {
#embed "Client/negotiation-machine.js"
};
static const uint8_t client_network_change_js[] = {
#embed "Client/network-change.js"
};
static const uint8_t client_numbered_stream_js[] = {
#embed "Client/numbered-stream.js"
};
static const uint8_t client_offer_pace_js[] = {
#embed "Client/offer-pace.js"
};
static const uint8_t client_outgoing_streams_js[] = {
#embed "Client/outgoing-streams.js"
};
static const uint8_t client_page_events_js[] = {
#embed "Client/page-events.js"
};
static const uint8_t client_pair_exchange_js[] = {
#embed "Client/pair-exchange.js"
};
static const uint8_t client_pair_requests_js[] = {
#embed "Client/pair-requests.js"
};
static const uint8_t client_pair_streams_js[] = {
#embed "Client/pair-streams.js"
};
static const uint8_t client_pair_topics_js[] = {
#embed "Client/pair-topics.js"
};
static const uint8_t client_pair_types_js[] = {
#embed "Client/pair-types.js"
};
static const uint8_t client_pair_js[] = {
#embed "Client/pair.js"
};
static const uint8_t client_path_liveness_js[] = {
#embed "Client/path-liveness.js"
};
static const uint8_t client_path_samples_js[] = {
#embed "Client/path-samples.js"
};
static const uint8_t client_path_watch_js[] = {
#embed "Client/path-watch.js"
};
static const uint8_t client_peer_channels_js[] = {
#embed "Client/peer-channels.js"
};
static const uint8_t client_peer_diagnosis_js[] = {
#embed "Client/peer-diagnosis.js"
};
static const uint8_t client_peer_failure_js[] = {
#embed "Client/peer-failure.js"
};
static const uint8_t client_peer_machine_js[] = {
#embed "Client/peer-machine.js"
};
static const uint8_t client_peer_manager_js[] = {
#embed "Client/peer-manager.js"
};
static const uint8_t client_peer_types_js[] = {
#embed "Client/peer-types.js"
};
static const uint8_t client_peers_machine_js[] = {
#embed "Client/peers-machine.js"
};
static const uint8_t client_plain_progress_js[] = {
#embed "Client/plain-progress.js"
};
static const uint8_t client_protocol_codec_js[] = {
#embed "Client/protocol-codec.js"
};
static const uint8_t client_protocol_fields_js[] = {
#embed "Client/protocol-fields.js"
};
static const uint8_t client_provider_calls_js[] = {
#embed "Client/provider-calls.js"
};
static const uint8_t client_random_js[] = {
#embed "Client/random.js"
};
static const uint8_t client_rebuild_pace_js[] = {
#embed "Client/rebuild-pace.js"
};
static const uint8_t client_receive_window_js[] = {
#embed "Client/receive-window.js"
};
static const uint8_t client_recovery_ladder_js[] = {
#embed "Client/recovery-ladder.js"
};
static const uint8_t client_recovery_policy_js[] = {
#embed "Client/recovery-policy.js"
};
static const uint8_t client_recovery_record_js[] = {
#embed "Client/recovery-record.js"
};
static const uint8_t client_recovery_state_js[] = {
#embed "Client/recovery-state.js"
};
static const uint8_t client_recovery_steps_js[] = {
#embed "Client/recovery-steps.js"
};
static const uint8_t client_refusals_js[] = {
#embed "Client/refusals.js"
};
static const uint8_t client_relay_renewal_js[] = {
#embed "Client/relay-renewal.js"
};
static const uint8_t client_reopening_backoff_js[] = {
#embed "Client/reopening-backoff.js"
};
static const uint8_t client_request_machine_js[] = {
#embed "Client/request-machine.js"
};
static const uint8_t client_restart_attempts_js[] = {
#embed "Client/restart-attempts.js"
};
static const uint8_t client_retired_connections_js[] = {
#embed "Client/retired-connections.js"
};
static const uint8_t client_room_configuration_js[] = {
#embed "Client/room-configuration.js"
};
static const uint8_t client_room_connection_js[] = {
#embed "Client/room-connection.js"
};
static const uint8_t client_room_events_js[] = {
#embed "Client/room-events.js"
};
static const uint8_t client_room_exchange_js[] = {
#embed "Client/room-exchange.js"
};
static const uint8_t client_room_machine_interface_js[] = {
#embed "Client/room-machine-interface.js"
};
static const uint8_t client_room_machine_js[] = {
#embed "Client/room-machine.js"
};
static const uint8_t client_room_message_js[] = {
#embed "Client/room-message.js"
};
static const uint8_t client_room_roster_js[] = {
#embed "Client/room-roster.js"
};
static const uint8_t client_room_session_machine_js[] = {
#embed "Client/room-session-machine.js"
};
static const uint8_t client_room_streams_js[] = {
#embed "Client/room-streams.js"
};
static const uint8_t client_room_d_ts[] = {
#embed "Client/room.d.ts"
};
static const uint8_t client_room_js[] = {
#embed "Client/room.js"
};
static const uint8_t client_send_buffer_js[] = {
#embed "Client/send-buffer.js"
};
static const uint8_t client_send_report_js[] = {
#embed "Client/send-report.js"
};
static const uint8_t client_shared_outbox_js[] = {
#embed "Client/shared-outbox.js"
};
static const uint8_t client_signaling_attempts_js[] = {
#embed "Client/signaling-attempts.js"
};
static const uint8_t client_signaling_credential_js[] = {
#embed "Client/signaling-credential.js"
};
static const uint8_t client_signaling_machine_js[] = {
#embed "Client/signaling-machine.js"
};
static const uint8_t client_signaling_reaction_js[] = {
#embed "Client/signaling-reaction.js"
};
static const uint8_t client_signaling_recovery_js[] = {
#embed "Client/signaling-recovery.js"
};
static const uint8_t client_signaling_streams_js[] = {
#embed "Client/signaling-streams.js"
};
static const uint8_t client_stall_machine_js[] = {
#embed "Client/stall-machine.js"
};
static const uint8_t client_stall_obstacle_js[] = {
#embed "Client/stall-obstacle.js"
};
static const uint8_t client_stream_ends_js[] = {
#embed "Client/stream-ends.js"
};
static const uint8_t client_stream_record_js[] = {
#embed "Client/stream-record.js"
};
static const uint8_t client_stuck_data_js[] = {
#embed "Client/stuck-data.js"
};
static const uint8_t client_time_js[] = {
#embed "Client/time.js"
};
static const uint8_t client_timers_js[] = {
#embed "Client/timers.js"
};
static const uint8_t client_topic_windows_js[] = {
#embed "Client/topic-windows.js"
};
static const uint8_t client_topic_js[] = {
#embed "Client/topic.js"
};
static const uint8_t client_values_js[] = {
#embed "Client/values.js"
};
static const uint8_t client_waiting_js[] = {
#embed "Client/waiting.js"
};

#define FILE(path, name) { path, name, sizeof name }

static const struct CRoomPage_file files[] = {
    FILE("page/index.html", page_index_html),
    FILE("page/conversation.js", page_conversation_js),
    FILE("page/dom.js", page_dom_js),
    FILE("page/entrance.js", page_entrance_js),
    FILE("page/icon.svg", page_icon_svg),
    FILE("page/invitation.js", page_invitation_js),
    FILE("page/page.css", page_page_css),
    FILE("page/page.js", page_page_js),
    FILE("page/people-view.js", page_people_view_js),
    FILE("page/qr-code.js", page_qr_code_js),
    FILE("page/server-view.js", page_server_view_js),
    FILE("page/sha256.js", page_sha256_js),
    FILE("page/text.js", page_text_js),
    FILE("page/timeline.js", page_timeline_js),
    FILE("page/transfer-messages.js", page_transfer_messages_js),
    FILE("page/transfer-protocol.js", page_transfer_protocol_js),
    FILE("page/transfers.js", page_transfers_js),
    FILE("client/abort-signal.js", client_abort_signal_js),
    FILE("client/acknowledgement-watch.js", client_acknowledgement_watch_js),
    FILE("client/acknowledgement-watches.js", client_acknowledgement_watches_js),
    FILE("client/admitted-connection.js", client_admitted_connection_js),
    FILE("client/agenda.js", client_agenda_js),
    FILE("client/background-clock.js", client_background_clock_js),
    FILE("client/backoff.js", client_backoff_js),
    FILE("client/browser-peer.js", client_browser_peer_js),
    FILE("client/browser-signaling.js", client_browser_signaling_js),
    FILE("client/bulk-pace.js", client_bulk_pace_js),
    FILE("client/bytes.js", client_bytes_js),
    FILE("client/candidate-round.js", client_candidate_round_js),
    FILE("client/clock.js", client_clock_js),
    FILE("client/configuration.js", client_configuration_js),
    FILE("client/delivery-channel.js", client_delivery_channel_js),
    FILE("client/delivery-channels.js", client_delivery_channels_js),
    FILE("client/delivery-link.js", client_delivery_link_js),
    FILE("client/delivery-machine.js", client_delivery_machine_js),
    FILE("client/delivery-memory.js", client_delivery_memory_js),
    FILE("client/delivery-outbox.js", client_delivery_outbox_js),
    FILE("client/delivery-protocol.js", client_delivery_protocol_js),
    FILE("client/delivery-types.js", client_delivery_types_js),
    FILE("client/delivery-verdict.js", client_delivery_verdict_js),
    FILE("client/early-candidates.js", client_early_candidates_js),
    FILE("client/errors.js", client_errors_js),
    FILE("client/exchange-message.js", client_exchange_message_js),
    FILE("client/exchange-record.js", client_exchange_record_js),
    FILE("client/file-streams.js", client_file_streams_js),
    FILE("client/frame-sending.js", client_frame_sending_js),
    FILE("client/held-messages.js", client_held_messages_js),
    FILE("client/ice-server-machine.js", client_ice_server_machine_js),
    FILE("client/ice-server-selection.js", client_ice_server_selection_js),
    FILE("client/inbox.js", client_inbox_js),
    FILE("client/incoming-streams.js", client_incoming_streams_js),
    FILE("client/join-deadline.js", client_join_deadline_js),
    FILE("client/liveness.js", client_liveness_js),
    FILE("client/message-room.js", client_message_room_js),
    FILE("client/messages.d.ts", client_messages_d_ts),
    FILE("client/messages.js", client_messages_js),
    FILE("client/negotiation-machine.js", client_negotiation_machine_js),
    FILE("client/network-change.js", client_network_change_js),
    FILE("client/numbered-stream.js", client_numbered_stream_js),
    FILE("client/offer-pace.js", client_offer_pace_js),
    FILE("client/outgoing-streams.js", client_outgoing_streams_js),
    FILE("client/page-events.js", client_page_events_js),
    FILE("client/pair-exchange.js", client_pair_exchange_js),
    FILE("client/pair-requests.js", client_pair_requests_js),
    FILE("client/pair-streams.js", client_pair_streams_js),
    FILE("client/pair-topics.js", client_pair_topics_js),
    FILE("client/pair-types.js", client_pair_types_js),
    FILE("client/pair.js", client_pair_js),
    FILE("client/path-liveness.js", client_path_liveness_js),
    FILE("client/path-samples.js", client_path_samples_js),
    FILE("client/path-watch.js", client_path_watch_js),
    FILE("client/peer-channels.js", client_peer_channels_js),
    FILE("client/peer-diagnosis.js", client_peer_diagnosis_js),
    FILE("client/peer-failure.js", client_peer_failure_js),
    FILE("client/peer-machine.js", client_peer_machine_js),
    FILE("client/peer-manager.js", client_peer_manager_js),
    FILE("client/peer-types.js", client_peer_types_js),
    FILE("client/peers-machine.js", client_peers_machine_js),
    FILE("client/plain-progress.js", client_plain_progress_js),
    FILE("client/protocol-codec.js", client_protocol_codec_js),
    FILE("client/protocol-fields.js", client_protocol_fields_js),
    FILE("client/provider-calls.js", client_provider_calls_js),
    FILE("client/random.js", client_random_js),
    FILE("client/rebuild-pace.js", client_rebuild_pace_js),
    FILE("client/receive-window.js", client_receive_window_js),
    FILE("client/recovery-ladder.js", client_recovery_ladder_js),
    FILE("client/recovery-policy.js", client_recovery_policy_js),
    FILE("client/recovery-record.js", client_recovery_record_js),
    FILE("client/recovery-state.js", client_recovery_state_js),
    FILE("client/recovery-steps.js", client_recovery_steps_js),
    FILE("client/refusals.js", client_refusals_js),
    FILE("client/relay-renewal.js", client_relay_renewal_js),
    FILE("client/reopening-backoff.js", client_reopening_backoff_js),
    FILE("client/request-machine.js", client_request_machine_js),
    FILE("client/restart-attempts.js", client_restart_attempts_js),
    FILE("client/retired-connections.js", client_retired_connections_js),
    FILE("client/room-configuration.js", client_room_configuration_js),
    FILE("client/room-connection.js", client_room_connection_js),
    FILE("client/room-events.js", client_room_events_js),
    FILE("client/room-exchange.js", client_room_exchange_js),
    FILE("client/room-machine-interface.js", client_room_machine_interface_js),
    FILE("client/room-machine.js", client_room_machine_js),
    FILE("client/room-message.js", client_room_message_js),
    FILE("client/room-roster.js", client_room_roster_js),
    FILE("client/room-session-machine.js", client_room_session_machine_js),
    FILE("client/room-streams.js", client_room_streams_js),
    FILE("client/room.d.ts", client_room_d_ts),
    FILE("client/room.js", client_room_js),
    FILE("client/send-buffer.js", client_send_buffer_js),
    FILE("client/send-report.js", client_send_report_js),
    FILE("client/shared-outbox.js", client_shared_outbox_js),
    FILE("client/signaling-attempts.js", client_signaling_attempts_js),
    FILE("client/signaling-credential.js", client_signaling_credential_js),
    FILE("client/signaling-machine.js", client_signaling_machine_js),
    FILE("client/signaling-reaction.js", client_signaling_reaction_js),
    FILE("client/signaling-recovery.js", client_signaling_recovery_js),
    FILE("client/signaling-streams.js", client_signaling_streams_js),
    FILE("client/stall-machine.js", client_stall_machine_js),
    FILE("client/stall-obstacle.js", client_stall_obstacle_js),
    FILE("client/stream-ends.js", client_stream_ends_js),
    FILE("client/stream-record.js", client_stream_record_js),
    FILE("client/stuck-data.js", client_stuck_data_js),
    FILE("client/time.js", client_time_js),
    FILE("client/timers.js", client_timers_js),
    FILE("client/topic-windows.js", client_topic_windows_js),
    FILE("client/topic.js", client_topic_js),
    FILE("client/values.js", client_values_js),
    FILE("client/waiting.js", client_waiting_js),
};

const struct CRoomPage_file *CRoomPage_files(void) { return files; }
const size_t CRoomPage_count = sizeof files / sizeof files[0];
