"""What the scenarios stand on: the network around a switch, the switch, and messages of the protocol."""
