//! Who is in which chain: what a node tells, and what it is told.
