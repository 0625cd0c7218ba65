/* Locks and threads, the only place that names the system's. A build with WODAN_NO_THREADS has none of them: one
 * thread per database then, by contract. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <stdint.h>

#ifdef WODAN_NO_THREADS
struct lock {
  char unused;
};
struct rwlock {
  char unused;
};
struct condition {
  char unused;
};
static inline int lock_init(struct lock *l) {
  (void)l;
  return 0;
}
static inline void lock_release(struct lock *l) { (void)l; }
static inline void lock_acquire(struct lock *l) { (void)l; }
static inline void lock_leave(struct lock *l) { (void)l; }
static inline int rwlock_init(struct rwlock *l) {
  (void)l;
  return 0;
}
static inline void rwlock_release(struct rwlock *l) { (void)l; }
static inline void rwlock_read(struct rwlock *l) { (void)l; }
static inline void rwlock_read_leave(struct rwlock *l) { (void)l; }
static inline void rwlock_write(struct rwlock *l) { (void)l; }
static inline void rwlock_write_leave(struct rwlock *l) { (void)l; }
static inline int condition_init(struct condition *c) {
  (void)c;
  return 0;
}
static inline void condition_release(struct condition *c) { (void)c; }
static inline void condition_wait(struct condition *c, struct lock *l) {
  (void)c;
  (void)l;
}
static inline void condition_wait_for(struct condition *c, struct lock *l, uint64_t microseconds) {
  (void)c;
  (void)l;
  (void)microseconds;
}
static inline void condition_wake_all(struct condition *c) { (void)c; }
struct thread {
  char unused;
};
static inline int thread_start(struct thread *t, void *(*run)(void *), void *context) {
  (void)t;
  (void)run;
  (void)context;
  return -1;
}
static inline void thread_join(struct thread *t) { (void)t; }
static inline uint64_t thread_number(void) { return 0; }
#else
#include <pthread.h>
#include <time.h>
struct lock {
  pthread_mutex_t mutex;
};
struct rwlock {
  pthread_rwlock_t rwlock;
};
struct condition {
  pthread_cond_t condition;
};
/* 0, or non-zero when the system has no resources left. */
static inline int lock_init(struct lock *l) { return pthread_mutex_init(&l->mutex, NULL); }
static inline void lock_release(struct lock *l) { pthread_mutex_destroy(&l->mutex); }
static inline void lock_acquire(struct lock *l) { pthread_mutex_lock(&l->mutex); }
static inline void lock_leave(struct lock *l) { pthread_mutex_unlock(&l->mutex); }
/* A waiting writer goes before readers that come later: else readers without a pause would keep it out for ever. So a
 * thread must not take the lock for reading twice. */
static inline int rwlock_init(struct rwlock *l) {
#ifdef __GLIBC__
  pthread_rwlockattr_t attributes;
  if (pthread_rwlockattr_init(&attributes)) return 1;
  int failed = pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  if (!failed) failed = pthread_rwlock_init(&l->rwlock, &attributes);
  pthread_rwlockattr_destroy(&attributes);
  return failed;
#else
  return pthread_rwlock_init(&l->rwlock, NULL);
#endif
}
static inline void rwlock_release(struct rwlock *l) { pthread_rwlock_destroy(&l->rwlock); }
static inline void rwlock_read(struct rwlock *l) { pthread_rwlock_rdlock(&l->rwlock); }
static inline void rwlock_read_leave(struct rwlock *l) { pthread_rwlock_unlock(&l->rwlock); }
static inline void rwlock_write(struct rwlock *l) { pthread_rwlock_wrlock(&l->rwlock); }
static inline void rwlock_write_leave(struct rwlock *l) { pthread_rwlock_unlock(&l->rwlock); }
static inline int condition_init(struct condition *c) { return pthread_cond_init(&c->condition, NULL); }
static inline void condition_release(struct condition *c) { pthread_cond_destroy(&c->condition); }
static inline void condition_wait(struct condition *c, struct lock *l) { pthread_cond_wait(&c->condition, &l->mutex); }
/* Also returns when the time is over, or for no reason. */
static inline void condition_wait_for(struct condition *c, struct lock *l, uint64_t microseconds) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += (time_t)(microseconds / 1000000);
  until.tv_nsec += (long)(microseconds % 1000000) * 1000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_cond_timedwait(&c->condition, &l->mutex, &until);
}
static inline void condition_wake_all(struct condition *c) { pthread_cond_broadcast(&c->condition); }
struct thread {
  pthread_t id;
};
/* 0, or non-zero when the system has no thread left, or the build none at all. */
static inline int thread_start(struct thread *t, void *(*run)(void *), void *context) {
  return pthread_create(&t->id, NULL, run, context);
}
static inline void thread_join(struct thread *t) { pthread_join(t->id, NULL); }
/* A number of the calling thread that no other has at the same time. */
static inline uint64_t thread_number(void) { return (uint64_t)(uintptr_t)pthread_self(); }
#endif

#endif
