//! redplane-macros
