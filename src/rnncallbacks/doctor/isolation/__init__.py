"""What a script reaches in place of the file system, the network, other processes and the screen."""
