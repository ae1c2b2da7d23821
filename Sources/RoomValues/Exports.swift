@_exported public import struct RoomProtocol.Epoch
@_exported public import struct RoomProtocol.HostTerm
// The identifiers and codes that events and errors are made of, so that applications need no import of the wire
// protocol.
@_exported public import enum RoomProtocol.LeaveReason
@_exported public import struct RoomProtocol.Participant
@_exported public import struct RoomProtocol.ParticipantID
@_exported public import protocol RoomProtocol.ParticipantReference
@_exported public import struct RoomProtocol.ProtocolError
@_exported public import struct RoomProtocol.RetryWindow
@_exported public import struct RoomProtocol.SessionID
