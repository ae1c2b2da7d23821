// Who writes or uses a transport imports one module.
@_exported public import TransportToolbox
@_exported public import TransportValues
