# A perl ithread for every connection: echo_perl.pl PORT. Each ithread is a clone of the interpreter.
use strict;
use warnings;
use threads;
use threads::shared;
use IO::Socket::INET;

my $served : shared = 0;
$SIG{TERM} = sub { exit 0 };
$SIG{PIPE} = 'IGNORE';

sub serve {
    my ($fd) = @_;
    open(my $client, '+<&=', $fd) or die "fdopen: $!";
    binmode $client;
    my $buffer;
    while (sysread($client, $buffer, 4096)) {
        my $done = 0;
        while ($done < length $buffer) {
            my $n = syswrite($client, $buffer, length($buffer) - $done, $done);
            last unless defined $n;
            $done += $n;
        }
        { lock($served); $served++; }
    }
    close $client;
}

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 1024,
    ReuseAddr => 1, Proto => 'tcp') or die "listen: $!";
while (1) {
    my $client = $listener->accept or next;
    # The thread gets a descriptor of its own: closing our handle must not close the thread's.
    open(my $copy, '+<&', $client) or die "dup: $!";
    my $fd = fileno $copy;
    my $thread = threads->create({ stack_size => 256 * 1024 }, sub { serve($fd) });
    $thread->detach;
    close $copy;
    close $client;
}
