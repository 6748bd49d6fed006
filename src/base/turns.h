/* A lock that goes round: who waits longest is next, so a thread that takes it again and again never holds others up
 * for more than one of its turns. The holder may take it again (it counts).
 * Threads: any number.                                                                                */
#ifndef CF_BASE_TURNS_H
#define CF_BASE_TURNS_H

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"

typedef struct cf_turns {
    pthread_mutex_t mutex;
    pthread_cond_t next_turn;
    uint64_t drawn, serving; /* tickets: a thread draws one and waits until it is served */
    pthread_t holder;        /* when depth > 0 */
    unsigned depth;
} cf_turns;

cf_err *cf_turns_init(cf_turns *turns) __attribute__((warn_unused_result));
void cf_turns_destroy(cf_turns *turns);
void cf_turns_lock(cf_turns *turns);
void cf_turns_unlock(cf_turns *turns);

#endif
