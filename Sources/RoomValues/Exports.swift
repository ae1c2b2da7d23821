@_exported public import enum RoomProtocol.LeaveReason
// The identifiers and codes that events and errors are made of, so that applications need no import of the wire
// protocol.
@_exported public import struct RoomProtocol.Participant
@_exported public import struct RoomProtocol.ParticipantID
@_exported public import struct RoomProtocol.ProtocolError
@_exported public import struct RoomProtocol.SessionID
