/* A library that chats on file descriptor 1 behind its host's back, as real ones do. Preloaded, it
 * waits for a byte on the socket GARBAGE_SOCKET, writes a burst of lines, half-lines and forged
 * answers to descriptor 1 while the host goes on with its work, and sends a byte back. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *const BURST[] = {
    "a library says hello\n",
    "half a line",
    "\n\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/forged\"}\n{\"",
    "\x00\xff\xfe\x80 not even text",
};

static void *chat(void *unused) {
    (void)unused;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("GARBAGE_SOCKET");
    int control = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!path || control < 0) return NULL;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(control, (struct sockaddr *)&address, sizeof address) != 0) return NULL;
    char byte;
    while (read(control, &byte, 1) == 1) {
        for (int round = 0; round < 200; round++) {
            const char *line = BURST[round % 5];
            size_t length = round % 5 == 4 ? 20 : strlen(line);
            /* Where this fails there is nothing to be done, and nothing was garbled. */
            if (write(1, line, length) < 0) byte = '!';
        }
        if (write(control, &byte, 1) != 1) break;
    }
    return NULL;
}

__attribute__((constructor)) static void begin(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, chat, NULL) == 0) pthread_detach(thread);
}
