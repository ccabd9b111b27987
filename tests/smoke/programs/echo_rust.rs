//! A thread for every connection, as the Rust book writes it: echo_rust PORT. Connections report
//! through a channel to a counting thread; a Mutex and a Condvar keep the number alive.
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::io::AsRawFd;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

struct Farewell(Option<mpsc::Sender<u64>>, u64);

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(self.1);
        }
    }
}

thread_local! {
    static MINE: RefCell<Farewell> = RefCell::new(Farewell(None, 0));
}

fn serve(mut stream: TcpStream, sender: mpsc::Sender<u64>) {
    MINE.with(|mine| *mine.borrow_mut() = Farewell(Some(sender), 0));
    let mut buf = [0u8; 4096];
    let _ = stream.set_nodelay(true);
    while let Ok(n) = stream.read(&mut buf) {
        if n == 0 || stream.write_all(&buf[..n]).is_err() {
            break;
        }
        MINE.with(|mine| mine.borrow_mut().1 += 1);
    }
}

fn rehearse() {
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let workers: Vec<_> = (0..5)
        .map(|i| {
            let pair = Arc::clone(&pair);
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(i));
                let (lock, changed) = &*pair;
                *lock.lock().unwrap() += 1;
                changed.notify_all();
                if i == 3 {
                    panic!("one of five fails");
                }
            })
        })
        .collect();
    let (lock, changed) = &*pair;
    let mut done = lock.lock().unwrap();
    while *done < 5 {
        done = changed.wait_timeout(done, Duration::from_secs(5)).unwrap().0;
    }
    drop(done);
    let panics = workers.into_iter().map(|w| w.join()).filter(|r| r.is_err()).count();
    println!("rehearsed: {} threads panicked", panics);
}

extern "C" {
    fn listen(fd: i32, backlog: i32) -> i32;
}

fn main() {
    let port = std::env::args().nth(1).expect("usage: echo_rust PORT");
    rehearse();
    let listener = TcpListener::bind(format!("127.0.0.1:{}", port)).expect("bind");
    // std's queue of 128 overflows in a storm, and who finds it full comes again after a second.
    assert_eq!(unsafe { listen(listener.as_raw_fd(), 8192) }, 0);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut all = 0u64;
        for served in receiver {
            all += served;
            if all == u64::MAX {
                println!("never");
            }
        }
    });
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let sender = sender.clone();
                thread::Builder::new()
                    .spawn(move || serve(stream, sender))
                    .expect("spawn");
            }
            Err(error) => eprintln!("accept: {}", error),
        }
    }
}
