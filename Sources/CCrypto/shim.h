// OpenSSL's libcrypto (Debian: libssl-dev): only its SHA-256 is used here, with the instructions that the CPU has for it.
#include <openssl/evp.h>
