//! redplane-protocol
