// Applications import one module: rooms, their values, and the contracts that a third party's backend is registered by.
@_exported public import RoomConnection
@_exported public import TransportPluginAPI
