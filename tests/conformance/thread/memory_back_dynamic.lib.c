/* A library with so much thread-local storage that each thread's comes from malloc. */
static __thread char large[20000] = "x";

int large_count(int value)
{
    int count = 0;
    for (unsigned i = 0; i < sizeof large; i++) {
        count += large[i] != 0;
    }
    large[value % (int)sizeof large] = 'y';
    return count;
}
