/* The threads of a restore and what they are handed. */
#include <stdlib.h>

#include "restore/run.h"

enum { STACK_BYTES = 512 << 10 };

void cf_restorer_wait(cf_restorer *run) {
    run->waiting = true;
    pthread_cond_wait(&run->room, &run->lock);
    run->waiting = false;
}

void cf_restorer_wake(cf_restorer *run) {
    if (run->waiting) pthread_cond_signal(&run->room);
}

static cf_task *take(cf_restorer *run) {
    pthread_mutex_lock(&run->lock);
    while (!run->head && !run->closing) pthread_cond_wait(&run->work, &run->lock);
    cf_task *task = run->head;
    if (task) {
        run->head = task->next;
        if (!run->head) run->tail = &run->head;
    }
    pthread_mutex_unlock(&run->lock);
    return task;
}

static void task_done(cf_restorer *run, cf_task *task) {
    pthread_mutex_lock(&run->lock);
    run->queued -= task->compare ? 1 : task->count;
    if (task->compare) run->comparing--;
    cf_restorer_wake(run);
    pthread_mutex_unlock(&run->lock);
    free(task->pieces);
    free(task);
}

/* A stopped run still takes every task, to give back what it holds. */
static void *lane_main(void *argument) {
    cf_lane_state *state = argument;
    for (cf_task *task = take(state->run); task; task = take(state->run)) {
        if (task->compare)
            cf_restorer_compare(state, task->compare);
        else
            cf_restorer_write_pieces(state, task->pieces, task->count);
        task_done(state->run, task);
    }
    return NULL;
}

static cf_err *start_one(cf_restorer *run, const pthread_attr_t *attributes) {
    cf_lane_state *state = &run->lanes[run->lane_count];
    cf_err *err = cf_lane_state_init(state, run);
    if (!err && pthread_create(&state->thread, attributes, lane_main, state) != 0)
        err = cf_fail(CF_ERR_OUT_OF_MEMORY, "no more threads can be started");
    if (err) {
        cf_lane_state_wipe(state);
        return err;
    }
    run->lane_count++;
    return NULL;
}

cf_err *cf_restorer_start(cf_restorer *run) {
    if (run->options->dry_run) return NULL;
    unsigned count = run->options->lanes ? run->options->lanes : CF_LANES;
    run->lanes = calloc(count, sizeof *run->lanes);
    if (!run->lanes) return cf_fail(CF_ERR_OUT_OF_MEMORY, "no memory for lanes");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    cf_err *err = NULL;
    while (!err && run->lane_count < count) err = start_one(run, &attributes);
    pthread_attr_destroy(&attributes);
    if (err && run->lane_count > 0) { /* fewer will do */
        cf_err_free(err);
        err = NULL;
    }
    return err;
}

void cf_restorer_push(cf_restorer *run, cf_task *task, size_t weight) {
    task->next = NULL;
    pthread_mutex_lock(&run->lock);
    while (run->queued >= CF_QUEUE_PIECES && !atomic_load(&run->stop)) cf_restorer_wait(run);
    *run->tail = task;
    run->tail = &task->next;
    run->queued += weight;
    if (task->compare) run->comparing++;
    pthread_cond_signal(&run->work);
    pthread_mutex_unlock(&run->lock);
}

void cf_restorer_drain(cf_restorer *run) {
    pthread_mutex_lock(&run->lock);
    while (run->queued > 0 && !run->different) cf_restorer_wait(run);
    pthread_mutex_unlock(&run->lock);
}

void cf_restorer_join(cf_restorer *run) {
    pthread_mutex_lock(&run->lock);
    run->closing = true;
    pthread_cond_broadcast(&run->work);
    pthread_mutex_unlock(&run->lock);
    for (unsigned i = 0; i < run->lane_count; i++) pthread_join(run->lanes[i].thread, NULL);
    for (unsigned i = 0; i < run->lane_count; i++) cf_lane_state_wipe(&run->lanes[i]);
    free(run->lanes);
    run->lanes = NULL;
    run->lane_count = 0;
}
