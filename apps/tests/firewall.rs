//! The firewall on two switches and a store, frame by frame.
