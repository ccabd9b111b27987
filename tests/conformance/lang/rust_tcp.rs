// Thread per connection with Rust's std::net: an echo server, its clients, time-outs, shutdown.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 60;

fn echo(mut stream: TcpStream) {
    let mut buffer = [0u8; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => stream.write_all(&buffer[..n]).unwrap(),
            Err(error) => panic!("read: {}", error),
        }
    }
}

fn thread_per_connection_echo() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let handles: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (stream, _) = listener.accept().unwrap();
                thread::spawn(move || echo(stream))
            })
            .collect();
        for handle in handles {
            handle.join().unwrap();
        }
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|me| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for round in 0..20 {
                    let message = format!("client {} round {}\n", me, round);
                    stream.write_all(message.as_bytes()).unwrap();
                    let mut answer = vec![0u8; message.len()];
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, message.as_bytes());
                }
                stream.shutdown(Shutdown::Write).unwrap();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).unwrap();
                assert!(rest.is_empty());
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    server.join().unwrap();
}

fn large_transfers_keep_their_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sum = 0u64;
        let mut count = 0usize;
        let mut buffer = [0u8; 10000];
        loop {
            let n = stream.read(&mut buffer).unwrap();
            if n == 0 {
                return (count, sum);
            }
            count += n;
            sum += buffer[..n].iter().map(|&b| b as u64).sum::<u64>();
        }
    });
    let mut stream = TcpStream::connect(address).unwrap();
    let data: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    stream.write_all(&data).unwrap();
    drop(stream);
    let (count, sum) = server.join().unwrap();
    assert_eq!(count, data.len());
    assert_eq!(sum, data.iter().map(|&b| b as u64).sum::<u64>());
}

fn lines_are_buffered() {
    let (mut left, right) = UnixStream::pair().unwrap();
    let reader = thread::spawn(move || {
        BufReader::new(right).lines().map(|line| line.unwrap()).collect::<Vec<_>>()
    });
    for i in 0..50 {
        write!(left, "line ").unwrap();
        thread::yield_now();
        writeln!(left, "{}", i).unwrap();
    }
    drop(left);
    let lines = reader.join().unwrap();
    assert_eq!(lines.len(), 50);
    assert_eq!(lines[49], "line 49");
}

fn time_outs_are_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_accepted, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    let handle = thread::spawn(move || {
        let began = Instant::now();
        let error = (&stream).read(&mut [0u8; 10]).unwrap_err();
        assert!(error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::TimedOut);
        assert!(began.elapsed() >= Duration::from_millis(29));
        stream.set_nonblocking(true).unwrap();
        assert_eq!((&stream).read(&mut [0u8; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
    handle.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn refused_connections_are_errors() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let handle = thread::spawn(move || {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let limited = TcpStream::connect_timeout(&address, Duration::from_secs(5));
        assert_eq!(limited.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
    handle.join().unwrap();
}

fn datagrams_go_both_ways() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let handle = thread::spawn(move || {
        let mut buffer = [0u8; 100];
        for _ in 0..20 {
            let (n, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..n], from).unwrap();
        }
    });
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    for i in 0..20u8 {
        let mut buffer = [0u8; 100];
        client.send(&[i, i + 1]).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 2);
        assert_eq!(buffer[..2], [i, i + 1]);
    }
    handle.join().unwrap();
}

fn shutdown_wakes_the_reader() {
    let (left, right) = UnixStream::pair().unwrap();
    let reader = {
        let mut clone = right.try_clone().unwrap();
        thread::spawn(move || clone.read(&mut [0u8; 10]).unwrap())
    };
    thread::sleep(Duration::from_millis(20));
    right.shutdown(Shutdown::Both).unwrap();
    assert_eq!(reader.join().unwrap(), 0);
    drop(left);
}

fn main() {
    let checks: [(&str, fn()); 7] = [
        ("thread_per_connection_echo", thread_per_connection_echo),
        ("large_transfers_keep_their_bytes", large_transfers_keep_their_bytes),
        ("lines_are_buffered", lines_are_buffered),
        ("time_outs_are_kept", time_outs_are_kept),
        ("refused_connections_are_errors", refused_connections_are_errors),
        ("datagrams_go_both_ways", datagrams_go_both_ways),
        ("shutdown_wakes_the_reader", shutdown_wakes_the_reader),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    std::panic::set_hook(Box::new(|info| println!("FAIL {}", info)));
    for (name, check) in checks {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            check();
            println!("ok {}", name);
        }
    }
}
