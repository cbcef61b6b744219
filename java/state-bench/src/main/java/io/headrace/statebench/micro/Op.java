package io.headrace.statebench.micro;

/** One operation on the state of record number `key`; returns something of what it read, so that it is not optimised away. */
interface Op {
    long apply(long key) throws Exception;
}
