//! redplane-sdk
