#include "base/turns.h"

cf_err *cf_turns_init(cf_turns *turns) {
    *turns = (cf_turns){0};
    int err_no = pthread_mutex_init(&turns->mutex, NULL);
    if (err_no) return cf_fail_errno(CF_ERR_INTERNAL, err_no, "cannot make a lock");
    err_no = pthread_cond_init(&turns->next_turn, NULL);
    if (!err_no) return NULL;
    pthread_mutex_destroy(&turns->mutex);
    return cf_fail_errno(CF_ERR_INTERNAL, err_no, "cannot make a lock");
}

void cf_turns_destroy(cf_turns *turns) {
    pthread_cond_destroy(&turns->next_turn);
    pthread_mutex_destroy(&turns->mutex);
}

void cf_turns_lock(cf_turns *turns) {
    pthread_mutex_lock(&turns->mutex);
    if (turns->depth > 0 && pthread_equal(turns->holder, pthread_self())) {
        turns->depth++;
    } else {
        uint64_t ticket = turns->drawn++;
        while (ticket != turns->serving) pthread_cond_wait(&turns->next_turn, &turns->mutex);
        turns->holder = pthread_self();
        turns->depth = 1;
    }
    pthread_mutex_unlock(&turns->mutex);
}

void cf_turns_unlock(cf_turns *turns) {
    pthread_mutex_lock(&turns->mutex);
    if (--turns->depth == 0) {
        turns->serving++;
        pthread_cond_broadcast(&turns->next_turn); /* only the one whose ticket it is goes on */
    }
    pthread_mutex_unlock(&turns->mutex);
}
