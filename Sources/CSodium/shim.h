// libsodium (Debian: libsodium-dev): only its SHA-256 is used here.
#include <sodium/crypto_hash_sha256.h>
