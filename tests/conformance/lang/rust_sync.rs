// Rust's std over threads: Mutex, Condvar, RwLock, mpsc, Barrier, Once, park, thread_local with destructors.
// Prints "ok NAME" per check; a check that fails panics, which the exit status tells.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 8;

fn threads_return_values() {
    let handles: Vec<_> = (0..50)
        .map(|i| {
            thread::Builder::new()
                .name(format!("worker {}", i))
                .stack_size(256 * 1024)
                .spawn(move || {
                    assert_eq!(thread::current().name(), Some(format!("worker {}", i).as_str()));
                    thread::yield_now();
                    i * 2
                })
                .unwrap()
        })
        .collect();
    let sum: usize = handles.into_iter().map(|h| h.join().unwrap()).sum();
    assert_eq!(sum, 49 * 50);
}

fn panics_come_across() {
    let handle = thread::spawn(|| -> i32 { panic!("expected {}", 7) });
    let payload = handle.join().unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "expected 7");
    let lock = Arc::new(Mutex::new(0));
    let poisoner = Arc::clone(&lock);
    assert!(thread::spawn(move || {
        let _guard = poisoner.lock().unwrap();
        panic!("poison");
    })
    .join()
    .is_err());
    assert!(lock.is_poisoned());
    assert!(lock.lock().is_err());
}

fn mutexes_exclude() {
    let counter = Arc::new(Mutex::new(0usize));
    let handles: Vec<_> = (0..THREADS)
        .map(|_| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                for i in 0..300 {
                    let mut guard = counter.lock().unwrap();
                    let seen = *guard;
                    if i % 16 == 0 {
                        thread::yield_now();
                    }
                    *guard = seen + 1;
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert_eq!(*counter.lock().unwrap(), THREADS * 300);
    let guard = counter.lock().unwrap();
    let other = Arc::clone(&counter);
    assert!(thread::spawn(move || other.try_lock().is_err()).join().unwrap());
    drop(guard);
}

fn condvars_wake_and_time_out() {
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let handles: Vec<_> = (0..2)
        .map(|me| {
            let pair = Arc::clone(&pair);
            thread::spawn(move || {
                let (lock, condvar) = &*pair;
                for _ in 0..200 {
                    let mut turn = condvar.wait_while(lock.lock().unwrap(), |turn| *turn != me).unwrap();
                    *turn = 1 - me;
                    condvar.notify_all();
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    let (lock, condvar) = &*pair;
    let began = Instant::now();
    let (_guard, result) = condvar.wait_timeout(lock.lock().unwrap(), Duration::from_millis(20)).unwrap();
    assert!(result.timed_out());
    assert!(began.elapsed() >= Duration::from_millis(20));
}

fn rwlocks_share_and_exclude() {
    let lock = Arc::new(RwLock::new((0, 0)));
    let handles: Vec<_> = (0..THREADS)
        .map(|me| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                for i in 0..100 {
                    if me % 4 == 0 {
                        let mut pair = lock.write().unwrap();
                        pair.0 += 1;
                        thread::yield_now();
                        pair.1 += 1;
                    } else {
                        let pair = lock.read().unwrap();
                        if i % 8 == 0 {
                            thread::yield_now();
                        }
                        assert_eq!(pair.0, pair.1);
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert_eq!(*lock.read().unwrap(), (200, 200));
    let _reader = lock.read().unwrap();
    assert!(lock.try_write().is_err());
    assert!(lock.try_read().is_ok());
}

fn channels_carry_messages() {
    let (sender, receiver) = mpsc::channel();
    for me in 0..THREADS {
        let sender = sender.clone();
        thread::spawn(move || {
            for i in 0..100 {
                sender.send(me * 1000 + i).unwrap();
                if i % 10 == 0 {
                    thread::sleep(Duration::from_micros(100));
                }
            }
        });
    }
    drop(sender);
    let mut last: HashMap<usize, usize> = HashMap::new();
    let mut count = 0;
    for message in receiver {
        let (me, i) = (message / 1000, message % 1000);
        assert_eq!(i, last.get(&me).map_or(0, |seen| seen + 1));
        last.insert(me, i);
        count += 1;
    }
    assert_eq!(count, THREADS * 100);

    let (sender, receiver) = mpsc::sync_channel(2);
    let producer = thread::spawn(move || {
        for i in 0..200 {
            sender.send(i).unwrap();
        }
    });
    assert_eq!(receiver.iter().sum::<i32>(), 199 * 200 / 2);
    producer.join().unwrap();

    let (sender, receiver) = mpsc::channel::<i32>();
    assert_eq!(receiver.recv_timeout(Duration::from_millis(10)), Err(mpsc::RecvTimeoutError::Timeout));
    assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(sender);
    assert!(receiver.recv().is_err());

    let (sender, receiver) = mpsc::sync_channel(0);
    let handle = thread::spawn(move || receiver.recv().unwrap());
    sender.send("rendezvous").unwrap();
    assert_eq!(handle.join().unwrap(), "rendezvous");
}

fn barriers_have_one_leader() {
    let barrier = Arc::new(Barrier::new(THREADS));
    let leaders = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..THREADS)
        .map(|_| {
            let (barrier, leaders) = (Arc::clone(&barrier), Arc::clone(&leaders));
            thread::spawn(move || {
                for _ in 0..50 {
                    if barrier.wait().is_leader() {
                        leaders.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert_eq!(leaders.load(Ordering::SeqCst), 50);
}

fn once_runs_once() {
    static ONCE: Once = Once::new();
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let handles: Vec<_> = (0..THREADS)
        .map(|_| {
            thread::spawn(|| {
                ONCE.call_once(|| {
                    thread::sleep(Duration::from_millis(5));
                    RUNS.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(RUNS.load(Ordering::SeqCst), 1);
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert!(ONCE.is_completed());
}

fn scoped_threads_borrow() {
    let numbers: Vec<u64> = (1..=1000).collect();
    let mut sums = vec![0u64; 4];
    thread::scope(|scope| {
        for (sum, part) in sums.iter_mut().zip(numbers.chunks(250)) {
            scope.spawn(move || {
                thread::yield_now();
                *sum = part.iter().sum();
            });
        }
        let handle = scope.spawn(|| numbers.len());
        assert_eq!(handle.join().unwrap(), 1000);
    });
    assert_eq!(sums.iter().sum::<u64>(), 500500);
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Witness(Cell<usize>);

impl Drop for Witness {
    fn drop(&mut self) {
        thread::yield_now();
        DROPPED.fetch_add(self.0.get(), Ordering::SeqCst);
    }
}

thread_local! {
    static WITNESS: Witness = Witness(Cell::new(0));
    static WORDS: RefCell<Vec<String>> = RefCell::new(Vec::new());
}

fn thread_locals_are_dropped() {
    let handles: Vec<_> = (0..20)
        .map(|i| {
            thread::spawn(move || {
                WITNESS.with(|witness| witness.0.set(i + 1));
                WORDS.with(|words| assert!(words.borrow().is_empty()));
                for n in 0..20 {
                    WORDS.with(|words| words.borrow_mut().push(format!("{} {}", i, n)));
                    if n % 5 == 0 {
                        thread::yield_now();
                    }
                }
                WORDS.with(|words| assert_eq!(words.borrow().last().unwrap(), &format!("{} 19", i)));
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert_eq!(DROPPED.load(Ordering::SeqCst), 20 * 21 / 2);
}

fn park_and_unpark() {
    let flag = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&flag);
    let handle = thread::spawn(move || {
        let mut wakes = 0;
        while !shared.load(Ordering::SeqCst) {
            thread::park();
            wakes += 1;
        }
        wakes
    });
    thread::sleep(Duration::from_millis(5));
    flag.store(true, Ordering::SeqCst);
    handle.thread().unpark();
    assert!(handle.join().unwrap() >= 1 || flag.load(Ordering::SeqCst));

    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(20) {
        thread::park_timeout(Duration::from_millis(20));
    }
    thread::current().unpark();
    thread::park();

    let mut turns = Vec::new();
    let (sender, receiver) = mpsc::channel();
    let main = thread::current();
    let other = thread::spawn(move || {
        for i in 0..100 {
            thread::park();
            sender.send(i).unwrap();
            main.unpark();
        }
    });
    for _ in 0..100 {
        other.thread().unpark();
        loop {
            thread::park_timeout(Duration::from_secs(5));
            if let Ok(i) = receiver.try_recv() {
                turns.push(i);
                break;
            }
        }
    }
    other.join().unwrap();
    assert_eq!(turns, (0..100).collect::<Vec<_>>());
}

fn sleeps_keep_their_time() {
    let began = Instant::now();
    let handles: Vec<_> = (0..20).map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(20)))).collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert!(began.elapsed() < Duration::from_secs(15));
}

fn main() {
    let checks: [(&str, fn()); 12] = [
        ("threads_return_values", threads_return_values),
        ("panics_come_across", panics_come_across),
        ("mutexes_exclude", mutexes_exclude),
        ("condvars_wake_and_time_out", condvars_wake_and_time_out),
        ("rwlocks_share_and_exclude", rwlocks_share_and_exclude),
        ("channels_carry_messages", channels_carry_messages),
        ("barriers_have_one_leader", barriers_have_one_leader),
        ("once_runs_once", once_runs_once),
        ("scoped_threads_borrow", scoped_threads_borrow),
        ("thread_locals_are_dropped", thread_locals_are_dropped),
        ("park_and_unpark", park_and_unpark),
        ("sleeps_keep_their_time", sleeps_keep_their_time),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("expected 7") && !text.contains("poison") {
            println!("FAIL {}", text);
        }
    }));
    for (name, check) in checks {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            check();
            println!("ok {}", name);
        }
    }
}
