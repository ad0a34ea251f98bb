"""HTTP towards the clients: who may call, what is answered, and how it is written."""
