// The values of the server's machine that its configuration consists of.
@_exported public import enum RoomServerCore.DuplicateNames
@_exported public import struct RoomServerCore.RoomServerLimits
@_exported public import struct TransportValues.ICEServer
