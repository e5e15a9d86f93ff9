//! Load: many keys kept busy over real sockets, and how long each answer took.
