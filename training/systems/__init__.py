"""One file per paper: networks, losses, stages and hyper-parameters put together."""
