/* Owns: the tests of the striped lock and counters: who is let in beside whom, alone and in a crowd. Meant for a build with
 * -fsanitize=thread as well. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/striped.h"

static void rest(long microseconds) { nanosleep(&(struct timespec){.tv_nsec = 1000 * microseconds}, NULL); }

static void start(pthread_t *thread, void *(*run)(void *), void *context) {
  assert_int_equal(pthread_create(thread, NULL, run, context), 0);
}

static struct striped_lock *lock_new(void) {
  struct striped_lock *lock = calloc(1, sizeof *lock);
  assert_non_null(lock);
  assert_int_equal(striped_init(lock), 0);
  return lock;
}

static void lock_end(struct striped_lock *lock) {
  for (unsigned i = 0; i < STRIPES; i++) assert_int_equal(atomic_load(&lock->stripes[i].readers), 0);
  assert_false(atomic_load(&lock->writing));
  striped_release(lock);
  free(lock);
}

/* ---- one at a time ------------------------------------------------------------------------------------------------- */

struct visit {
  struct striped_lock *lock;
  atomic_bool inside, leave;
};

static void *visit_to_write(void *context) {
  struct visit *visit = context;
  striped_write(visit->lock);
  atomic_store(&visit->inside, true);
  while (!atomic_load(&visit->leave)) sched_yield();
  atomic_store(&visit->inside, false);
  striped_write_leave(visit->lock);
  return NULL;
}

static void *visit_to_read(void *context) {
  struct visit *visit = context;
  striped_read(visit->lock);
  atomic_store(&visit->inside, true);
  while (!atomic_load(&visit->leave)) sched_yield();
  atomic_store(&visit->inside, false);
  striped_read_leave(visit->lock);
  return NULL;
}

static void wait_for(const atomic_bool *what) {
  while (!atomic_load(what)) rest(50);
}

/* A writer waits for a reader of any stripe, and is woken by the one that leaves. */
static void test_striped__a_writer_waits_for_a_reader_of_each_stripe(void **state) {
  (void)state;
  struct striped_lock *lock = lock_new();
  for (unsigned i = 0; i < STRIPES; i++) {
    struct visit writer = {.lock = lock};
    pthread_t thread;
    atomic_fetch_add(&lock->stripes[i].readers, 1); /* as a thread does whose number picks it */
    start(&thread, visit_to_write, &writer);
    wait_for(&lock->writing);
    rest(2000);
    assert_false(atomic_load(&writer.inside));
    /* Through the call that readers leave by: once in with the stripe of this thread, so that it leaves one reader less. */
    atomic_fetch_sub(&lock->stripes[i].readers, 1);
    atomic_fetch_add(&lock->stripes[stripe_number()].readers, 1);
    striped_read_leave(lock);
    wait_for(&writer.inside);
    atomic_store(&writer.leave, true);
    pthread_join(thread, NULL);
  }
  lock_end(lock);
}

/* Else readers without a pause would keep it out for ever. */
static void test_striped__a_waiting_writer_goes_before_readers_that_come_later(void **state) {
  (void)state;
  struct striped_lock *lock = lock_new();
  struct visit first = {.lock = lock}, writer = {.lock = lock}, later = {.lock = lock};
  pthread_t threads[3];
  start(&threads[0], visit_to_read, &first);
  wait_for(&first.inside);
  start(&threads[1], visit_to_write, &writer);
  wait_for(&lock->writing);
  start(&threads[2], visit_to_read, &later);
  rest(5000);
  assert_false(atomic_load(&writer.inside));
  assert_false(atomic_load(&later.inside));
  atomic_store(&first.leave, true);
  wait_for(&writer.inside);
  rest(5000);
  assert_false(atomic_load(&later.inside)); /* the writer is alone */
  atomic_store(&writer.leave, true);
  wait_for(&later.inside);
  atomic_store(&later.leave, true);
  for (unsigned i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  lock_end(lock);
}

static void test_striped__readers_are_inside_together(void **state) {
  (void)state;
  enum { READERS = 5 };
  struct striped_lock *lock = lock_new();
  struct visit readers[READERS] = {{0}};
  pthread_t threads[READERS];
  for (unsigned i = 0; i < READERS; i++) {
    readers[i].lock = lock;
    start(&threads[i], visit_to_read, &readers[i]);
  }
  for (unsigned i = 0; i < READERS; i++) wait_for(&readers[i].inside); /* none has left yet */
  for (unsigned i = 0; i < READERS; i++) atomic_store(&readers[i].leave, true);
  for (unsigned i = 0; i < READERS; i++) pthread_join(threads[i], NULL);
  lock_end(lock);
}

static void test_striped__a_second_writer_waits_for_the_first(void **state) {
  (void)state;
  struct striped_lock *lock = lock_new();
  struct visit one = {.lock = lock}, two = {.lock = lock};
  pthread_t threads[2];
  start(&threads[0], visit_to_write, &one);
  wait_for(&one.inside);
  start(&threads[1], visit_to_write, &two);
  rest(5000);
  assert_false(atomic_load(&two.inside));
  atomic_store(&one.leave, true);
  wait_for(&two.inside);
  atomic_store(&two.leave, true);
  for (unsigned i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  lock_end(lock);
}

/* ---- a crowd ------------------------------------------------------------------------------------------------------- */

enum { WRITERS = 2, CROWD = 10, ROUNDS = 1500 };

/* What the lock protects: no atomics, so that the thread sanitizer sees who comes beside a writer, and two halves that are
 * equal when nobody is writing, so that others see it too. */
struct crowd {
  struct striped_lock *lock;
  uint64_t left, right;
  atomic_bool done;
  _Atomic uint64_t seen, torn;
};

static void *write_halves(void *context) {
  struct crowd *crowd = context;
  for (unsigned i = 0; i < ROUNDS; i++) {
    striped_write(crowd->lock);
    crowd->left++;
    if (i % 8 == 0) sched_yield();
    crowd->right++;
    striped_write_leave(crowd->lock);
    if (i % 16 == 0) rest(20);
  }
  return NULL;
}

static void *read_halves(void *context) {
  struct crowd *crowd = context;
  for (unsigned i = 0; !atomic_load(&crowd->done); i++) {
    striped_read(crowd->lock);
    uint64_t left = crowd->left;
    if (i % 4 == 0) sched_yield();
    uint64_t right = crowd->right;
    striped_read_leave(crowd->lock);
    atomic_fetch_add(&crowd->seen, 1);
    if (left != right) atomic_fetch_add(&crowd->torn, 1);
  }
  return NULL;
}

static void test_striped__nobody_sees_half_of_what_a_writer_does(void **state) {
  (void)state;
  struct crowd crowd = {.lock = lock_new()};
  pthread_t writers[WRITERS], readers[CROWD];
  for (unsigned i = 0; i < CROWD; i++) start(&readers[i], read_halves, &crowd);
  for (unsigned i = 0; i < WRITERS; i++) start(&writers[i], write_halves, &crowd);
  for (unsigned i = 0; i < WRITERS; i++) pthread_join(writers[i], NULL);
  atomic_store(&crowd.done, true);
  for (unsigned i = 0; i < CROWD; i++) pthread_join(readers[i], NULL);
  assert_int_equal(crowd.left, WRITERS * ROUNDS);
  assert_int_equal(crowd.right, WRITERS * ROUNDS);
  assert_int_equal(atomic_load(&crowd.torn), 0);
  assert_true(atomic_load(&crowd.seen) > 0);
  lock_end(crowd.lock);
}

/* ---- counters ------------------------------------------------------------------------------------------------------ */

struct counting {
  struct striped_counters *counters;
  unsigned number;
};

static void *count_up_and_down(void *context) {
  const struct counting *counting = context;
  for (unsigned i = 0; i < ROUNDS; i++) {
    for (unsigned c = 0; c < STRIPED_COUNTERS; c++) striped_add(counting->counters, c, c + counting->number);
    striped_take(counting->counters, 0, counting->number);
  }
  return NULL;
}

/* Each counter is the sum of what all threads did, whichever stripes they had, and none of them another's. */
static void test_striped__counters_add_up_over_the_stripes(void **state) {
  (void)state;
  struct striped_counters *counters = calloc(1, sizeof *counters);
  struct counting all[CROWD];
  pthread_t threads[CROWD];
  uint64_t numbers = 0;
  assert_non_null(counters);
  for (unsigned i = 0; i < CROWD; i++) {
    all[i] = (struct counting){counters, i + 1};
    numbers += i + 1;
    start(&threads[i], count_up_and_down, &all[i]);
  }
  for (unsigned i = 0; i < CROWD; i++) pthread_join(threads[i], NULL);
  assert_int_equal(striped_sum(counters, 0), 0);
  for (unsigned c = 1; c < STRIPED_COUNTERS; c++)
    assert_int_equal(striped_sum(counters, c), ROUNDS * (CROWD * c + numbers));
  /* And what lies in a stripe that no thread had is counted too. */
  for (unsigned i = 0; i < STRIPES; i++) atomic_fetch_add(&counters->stripes[i].counters[0], 1u << i);
  assert_int_equal(striped_sum(counters, 0), (1u << STRIPES) - 1);
  free(counters);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_striped__a_writer_waits_for_a_reader_of_each_stripe),
      cmocka_unit_test(test_striped__a_waiting_writer_goes_before_readers_that_come_later),
      cmocka_unit_test(test_striped__readers_are_inside_together),
      cmocka_unit_test(test_striped__a_second_writer_waits_for_the_first),
      cmocka_unit_test(test_striped__nobody_sees_half_of_what_a_writer_does),
      cmocka_unit_test(test_striped__counters_add_up_over_the_stripes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
