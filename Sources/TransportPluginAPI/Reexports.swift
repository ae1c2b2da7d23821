// Authors and users of transports import one module.
@_exported public import TransportToolbox
@_exported public import TransportValues
