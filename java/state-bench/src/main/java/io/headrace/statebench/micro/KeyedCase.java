package io.headrace.statebench.micro;

import io.headrace.statebench.Arguments;
import io.headrace.statebench.BackendUnderTest;
import org.apache.flink.api.common.typeutils.TypeSerializer;

/** What all cases share: the backend, and the choice of records to check. */
abstract class KeyedCase<K> implements Case {

    private static final int CHECKED = 1_000;

    protected BackendUnderTest<K> backend;

    abstract TypeSerializer<K> keySerializer();

    abstract void openState() throws Exception;

    abstract void checkRecord(long record) throws Exception;

    @Override
    public final void open(Arguments arguments) throws Exception {
        backend = BackendUnderTest.open(arguments, keySerializer());
        openState();
    }

    @Override
    public final void settle() throws Exception {
        backend.settle();
    }

    @Override
    public final void check(long n) throws Exception {
        KeyStream chosen = KeyStream.uniform(n, 7);
        for (int i = 0; i < CHECKED; i++) {
            checkRecord(chosen.next());
        }
    }

    @Override
    public final void close() throws Exception {
        if (backend != null) {
            backend.close();
        }
    }

    static void require(boolean holds, long record, Object found) {
        if (!holds) {
            throw new AssertionError("wrong state, record=" + record + ", found=`" + found + "`");
        }
    }
}
