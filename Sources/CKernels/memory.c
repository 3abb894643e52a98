// Memory for numbers. A training step touches some ten megabytes a row at a time; in pages of 4 kB it waits for the
// addresses of pages as long as for a tenth of its arithmetic.
#define _DEFAULT_SOURCE  // madvise
#include "CKernels.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, HUGE_PAGE = 2 << 20 };

void *ck_allocate(size_t bytes) {
    const size_t unit = bytes < HUGE_PAGE / 2 ? LINE : HUGE_PAGE;
    const size_t size = (bytes + unit - 1) / unit * unit;
    void *memory = aligned_alloc(unit, size ? size : unit);
    if (!memory) return 0;
#ifdef MADV_HUGEPAGE
    // A wish: where the system does not grant it, pages are small.
    if (unit == HUGE_PAGE) madvise(memory, size, MADV_HUGEPAGE);
#endif
    return memset(memory, 0, bytes);
}

void ck_free(void *memory) { free(memory); }
