"""The local stack: obtains the servers, starts them with Temper's own processes, watches over them, takes them down."""
