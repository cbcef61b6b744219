package io.headrace.slimbase.layout;

import io.headrace.slimbase.engine.Memory;
import io.headrace.slimbase.engine.Record;
import io.headrace.slimbase.engine.SlimEngine;

/**
 * Reads and writes maps entry by entry through the engine. Task thread.
 *
 * <p>What leaves the first page while that lies in a file is only noted in the root: neither is the page read, nor does it come to memory to be
 * shortened there. That is the way of windows, whose oldest entries go one by one. The list is *settled*, the page read and the entries taken
 * out, when it is long, when the page gets an entry, or when its neighbour loses one.
 *
 * <p>A map starts as one record, its small root. Beyond {@link #SMALL_LIMIT} its entries move to pages, records of their own, and the root
 * becomes their directory. A page that is full is cut in two; entries that come in order fill pages whole. An empty page goes; a map that has
 * shrunk to little becomes small again. Page size grows with the number of pages, so that the directory stays short.
 *
 * <p>All keys here are bytes: `key` is the record's (key and namespace), `userKey` the map's.
 */
public class MapPages implements AutoCloseable {
    /** Bytes of entries that a small root may have (about 16 to 50 entries); one larger entry alone stays, too. */
    static final int SMALL_LIMIT = 1024;
    /** A paged map whose last page is not larger becomes small again. */
    private static final int SHRINK_LIMIT = SMALL_LIMIT / 2;
    /** Room to grow that a small root gets when it is rebuilt, as a share of its bytes; many maps stay small, so little. */
    private static final int SMALL_SHARE = 4;
    /** The same of a page, which will be filled. */
    private static final int PAGE_SHARE = 2;

    /** Bytes of a list of removed keys, and of the root before it: a longer one costs more than a page. */
    private static final int REMOVED_LIMIT = 256;
    private static final int LISTING_ROOT_LIMIT = 512;

    private final SlimEngine engine;
    private final RunEditor editor;
    private final RootEditor root;
    private final Scratch pageKey = new Scratch(64);
    /** A copy of a root's list of removed keys: the root may move while a page is read. */
    private final Scratch removed = new Scratch(REMOVED_LIMIT);
    private int removedLength;
    private int keyGroup;
    private int identity;
    private long key;
    private int keyLength;
    private int foundLength;

    public MapPages(SlimEngine engine) {
        this.engine = engine;
        this.editor = new RunEditor(engine);
        this.root = new RootEditor(engine);
    }

    private long locate(int group, int rootIdentity, long keyAddress, int length) {
        keyGroup = group;
        identity = rootIdentity;
        key = keyAddress;
        keyLength = length;
        return engine.find(group, rootIdentity, keyAddress, length);
    }

    private long findRoot() {
        return engine.find(keyGroup, identity, key, keyLength);
    }

    /** Address of the page's key bytes: the root's and the page number. */
    private long pageKey(int number) {
        long at = pageKey.ensure(keyLength + 12L);
        Memory.copy(key, at, keyLength);
        Memory.putInt(at + keyLength, number);
        return at;
    }

    private long findPage(int number) {
        long page = engine.find(keyGroup, identity + 1, pageKey(number), keyLength + 4);
        assert page != 0 : "page is missing: " + number;
        return page;
    }

    /** The address of the entry's value (with its null flag), or 0; its length is {@link #foundLength}. */
    public long get(int group, int rootIdentity, long keyAddress, int length, long userKey, int userKeyLength) {
        long record = locate(group, rootIdentity, keyAddress, length);
        if (record == 0) {
            return 0;
        }
        long run = Record.valueAddress(record);
        if (MapFormat.isPaged(run)) {
            int index = MapFormat.pageOf(run, userKey, userKeyLength);
            if (index == 0 && MapFormat.isRemoved(run, userKey, userKeyLength)) {
                return 0;
            }
            run = Record.valueAddress(findPage(MapFormat.pageNumber(run, index)));
        }
        return valueIn(run, userKey, userKeyLength);
    }

    /** Whether the root record lists pages. */
    public static boolean isPaged(long root) {
        return MapFormat.isPaged(Record.valueAddress(root));
    }

    /** Like {@link #get} in a root record that was looked up and is not paged. */
    public long getSmall(long root, long userKey, int userKeyLength) {
        assert !isPaged(root) : "root has pages";
        return valueIn(Record.valueAddress(root), userKey, userKeyLength);
    }

    private long valueIn(long run, long userKey, int userKeyLength) {
        long entry = RunEditor.search(run, userKey, userKeyLength);
        if (entry == 0) {
            return 0;
        }
        foundLength = MapFormat.valueLengthOf(entry);
        return MapFormat.keyOf(entry) + userKeyLength;
    }

    /** Length of the value that {@link #get} or {@link #getSmall} found. */
    public int foundLength() {
        return foundLength;
    }

    /** Sets an entry; the value begins with the null flag. */
    public void put(
            int group, int rootIdentity, long keyAddress, int length, long userKey, int userKeyLength, long value, int valueLength) {
        long record = locate(group, rootIdentity, keyAddress, length);
        editor.want(userKey, userKeyLength, value, valueLength);
        if (record == 0) {
            int bytes = editor.single();
            engine.putFound(editor.buffer(), bytes, key, keyLength);
        } else if (!MapFormat.isPaged(Record.valueAddress(record))) {
            putSmall(record);
        } else if (MapFormat.removedBytes(Record.valueAddress(record)) > 0
                && MapFormat.pageOf(Record.valueAddress(record), userKey, userKeyLength) == 0) {
            settle();
            put(group, rootIdentity, keyAddress, length, userKey, userKeyLength, value, valueLength);
        } else {
            putPaged(record, userKey, userKeyLength);
        }
    }

    private void putSmall(long record) {
        editor.seek(record);
        if (editor.putInPlace(record)) {
            return;
        }
        if (editor.newBytes() <= SMALL_LIMIT || editor.newCount() < 2) {
            int bytes = editor.rebuild(SMALL_SHARE);
            engine.putFound(editor.buffer(), bytes, key, keyLength);
            return;
        }
        int whole = editor.rebuild(SMALL_SHARE);
        int left = editor.splitPoint(false);
        if (!RootEditor.canSeparate(editor, left)) {
            engine.putFound(editor.buffer(), whole, key, keyLength);
            return;
        }
        int rootBytes = root.build(editor, left);
        writePage(0, editor.firstPart(left), editor.partLength());
        writePage(1, editor.secondPart(left, 0), editor.partLength());
        engine.put(keyGroup, identity, key, keyLength, root.buffer(), rootBytes);
    }

    private void writePage(int number, long bytes, int length) {
        engine.put(keyGroup, identity + 1, pageKey(number), keyLength + 4, bytes, length);
    }

    private void putPaged(long record, long userKey, int userKeyLength) {
        long directory = Record.valueAddress(record);
        int index = MapFormat.pageOf(directory, userKey, userKeyLength);
        int pages = MapFormat.pageCount(directory);
        int number = MapFormat.pageNumber(directory, index);
        long page = findPage(number);
        editor.seek(page);
        if (editor.putInPlace(page)) {
            return;
        }
        if (editor.newBytes() <= pageLimit(pages) || editor.newCount() < 2) {
            int bytes = editor.rebuild(PAGE_SHARE, expected(index == pages - 1, pages));
            engine.putFound(editor.buffer(), bytes, pageKey.address(), keyLength + 4);
        } else {
            split(index, index == pages - 1);
        }
    }

    /** The page in the editor becomes two; the entry that is put may be new or larger than before. */
    private void split(int index, boolean last) {
        int whole = editor.rebuild(PAGE_SHARE);
        int left = editor.splitPoint(last);
        if (!RootEditor.canSeparate(editor, left)) {
            engine.putFound(editor.buffer(), whole, pageKey.address(), keyLength + 4);
            return;
        }
        long record = findRoot();
        long directory = Record.valueAddress(record);
        int number = MapFormat.pageNumber(directory, index);
        int fresh = MapFormat.nextPageNumber(directory);
        int rootBytes = root.withPage(record, index + 1, editor, left);
        writePage(fresh, editor.secondPart(left, expected(last, MapFormat.pageCount(directory))), editor.partLength());
        writePage(number, editor.firstPart(left), editor.partLength());
        engine.put(keyGroup, identity, key, keyLength, root.buffer(), rootBytes);
    }

    /** Entries that come in order fill the last page: it has its room at once, since one that grows step by step is written three times over. */
    private int expected(boolean last, int pages) {
        return last && editor.appends() ? pageLimit(pages) : 0;
    }

    /** Entries' bytes of a page: 1 KiB up to 512 pages, twice that for each factor of four. */
    private static int pageLimit(int pages) {
        int limit = SMALL_LIMIT;
        for (int most = 512; pages > most && limit < 16 * 1024; most *= 4) {
            limit *= 2;
        }
        return limit;
    }

    /** Takes an entry out, if it is there. */
    public void remove(int group, int rootIdentity, long keyAddress, int length, long userKey, int userKeyLength) {
        long record = locate(group, rootIdentity, keyAddress, length);
        if (record == 0) {
            return;
        }
        long run = Record.valueAddress(record);
        if (MapFormat.isPaged(run)) {
            if (!removePaged(run, userKey, userKeyLength)) {
                settle();
                remove(group, rootIdentity, keyAddress, length, userKey, userKeyLength);
            }
            return;
        }
        editor.want(userKey, userKeyLength, 0, 0);
        editor.seek(record);
        if (!editor.matched()) {
            return;
        }
        if (MapFormat.count(run) == 1) {
            engine.remove(keyGroup, identity, key, keyLength);
        } else if (!editor.removeInPlace(record)) {
            int bytes = editor.rebuildWithout();
            engine.putFound(editor.buffer(), bytes, key, keyLength);
        }
    }

    /** False, and nothing done, when the list of removed keys is to be settled first. */
    private boolean removePaged(long directory, long userKey, int userKeyLength) {
        int index = MapFormat.pageOf(directory, userKey, userKeyLength);
        boolean hasList = MapFormat.removedBytes(directory) > 0;
        if (index == 0) {
            if (MapFormat.isRemoved(directory, userKey, userKeyLength) || noteRemoved(directory, userKey, userKeyLength)) {
                return true;
            }
        }
        if (hasList && index <= 1) {
            return false;
        }
        editor.want(userKey, userKeyLength, 0, 0);
        long page = findPage(MapFormat.pageNumber(directory, index));
        editor.seek(page);
        if (!editor.matched()) {
            return true;
        }
        if (MapFormat.count(Record.valueAddress(page)) == 1) {
            removePage(index);
            return true;
        }
        if (!editor.removeInPlace(page)) {
            int bytes = editor.rebuildWithout();
            engine.putFound(editor.buffer(), bytes, pageKey.address(), keyLength + 4);
        }
        return true;
    }

    /** Notes in the root that the key has left the first page, if that is far; false when it is not, or the list is full. */
    private boolean noteRemoved(long directory, long userKey, int userKeyLength) {
        int bytes = MapFormat.pagedRootBytes(directory);
        int listed = MapFormat.removedBytes(directory);
        int more = VarInt.bytes(userKeyLength) + userKeyLength;
        if (MapFormat.pageCount(directory) < 2
                || bytes > LISTING_ROOT_LIMIT
                || listed + more > REMOVED_LIMIT
                || !isFar(MapFormat.pageNumber(directory, 0))) {
            return false;
        }
        long record = findRoot();
        if (engine.isCurrentEpoch(record) && bytes + listed + more <= Record.valueLength(record)) {
            RootEditor.addRemoved(Record.valueAddress(record), bytes + listed, userKey, userKeyLength);
        } else {
            int rootBytes = root.withRemoved(record, userKey, userKeyLength);
            engine.putFound(root.buffer(), rootBytes, key, keyLength);
        }
        return true;
    }

    /** Whether the page of the current map is only in a file. */
    boolean isFar(int number) {
        return engine.hasFiles() && engine.findInMemory(keyGroup, identity + 1, pageKey(number), keyLength + 4) == 0;
    }

    private void copyRemoved(long directory) {
        removedLength = MapFormat.removedBytes(directory);
        Memory.copy(directory + MapFormat.pagedRootBytes(directory), removed.ensure(removedLength), removedLength);
    }

    /** Takes the entries that have left the first page out of it. The map may be small afterwards. */
    private void settle() {
        long directory = Record.valueAddress(findRoot());
        copyRemoved(directory);
        long page = findPage(MapFormat.pageNumber(directory, 0));
        int bytes = editor.copyWithout(page, removed.address(), removedLength);
        if (bytes == 0) {
            removePage(0);
            return;
        }
        engine.putFound(editor.buffer(), bytes, pageKey.address(), keyLength + 4);
        long record = findRoot();
        if (engine.isCurrentEpoch(record)) {
            MapFormat.setRemovedBytes(Record.valueAddress(record), 0);
        } else {
            int rootBytes = root.withoutRemoved(Record.valueAddress(record));
            engine.putFound(root.buffer(), rootBytes, key, keyLength);
        }
    }

    /** The page's last entry goes, and so the page. */
    private void removePage(int index) {
        long directory = Record.valueAddress(findRoot());
        int number = MapFormat.pageNumber(directory, index);
        if (MapFormat.pageCount(directory) == 1) {
            engine.remove(keyGroup, identity, key, keyLength);
            engine.remove(keyGroup, identity + 1, pageKey(number), keyLength + 4);
            return;
        }
        int rootBytes = root.withoutPage(directory, index);
        engine.put(keyGroup, identity, key, keyLength, root.buffer(), rootBytes);
        engine.remove(keyGroup, identity + 1, pageKey(number), keyLength + 4);
        shrink();
    }

    /** A single small page goes back into the root. */
    private void shrink() {
        long directory = Record.valueAddress(findRoot());
        if (MapFormat.pageCount(directory) > 1) {
            return;
        }
        int number = MapFormat.pageNumber(directory, 0);
        long page = findPage(number);
        if (Record.valueLength(page) > SHRINK_LIMIT) {
            return;
        }
        int bytes = editor.copy(page);
        engine.put(keyGroup, identity, key, keyLength, editor.buffer(), bytes);
        engine.remove(keyGroup, identity + 1, pageKey(number), keyLength + 4);
    }

    /** Takes the whole map out; true when it had entries. */
    public boolean clear(int group, int rootIdentity, long keyAddress, int length) {
        long record = locate(group, rootIdentity, keyAddress, length);
        if (record == 0) {
            return false;
        }
        long directory = Record.valueAddress(record);
        int[] numbers = MapFormat.isPaged(directory) ? new int[MapFormat.pageCount(directory)] : new int[0];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = MapFormat.pageNumber(directory, i);
        }
        engine.remove(keyGroup, identity, key, keyLength);
        for (int number : numbers) {
            engine.remove(keyGroup, identity + 1, pageKey(number), keyLength + 4);
        }
        return true;
    }

    /**
     * Copies the run of entries that begins at or goes over the user key (0: from the first on) to the heap, set to its first entry that is
     * greater, or, when `inclusive`, not smaller. False when there is none.
     */
    public boolean load(
            int group, int rootIdentity, long keyAddress, int length, long userKey, int userKeyLength, boolean inclusive, MapRun to) {
        long record = locate(group, rootIdentity, keyAddress, length);
        if (record == 0) {
            return false;
        }
        long run = Record.valueAddress(record);
        if (!MapFormat.isPaged(run)) {
            return loadRun(run, userKey, userKeyLength, inclusive, true, to);
        }
        int index = userKey == 0 ? 0 : MapFormat.pageOf(run, userKey, userKeyLength);
        int pages = MapFormat.pageCount(run);
        if (index == 0 && MapFormat.removedBytes(run) > 0) {
            copyRemoved(run);
            long page = findPage(MapFormat.pageNumber(run, 0));
            if (loadWithout(page, userKey, userKeyLength, inclusive, to)) {
                return true;
            }
            run = Record.valueAddress(findRoot());
            index = 1;
        }
        while (index < pages) {
            long page = findPage(MapFormat.pageNumber(run, index));
            if (loadRun(Record.valueAddress(page), userKey, userKeyLength, inclusive, index == pages - 1, to)) {
                return true;
            }
            index++;
        }
        return false;
    }

    /** Like {@link #loadRun} of the first page, without the entries that have left it. */
    private boolean loadWithout(long page, long userKey, int userKeyLength, boolean inclusive, MapRun to) {
        int bytes = editor.copyWithout(page, removed.address(), removedLength);
        return bytes > 0 && loadRun(editor.buffer(), userKey, userKeyLength, inclusive, false, to);
    }

    private static boolean loadRun(long run, long userKey, int userKeyLength, boolean inclusive, boolean last, MapRun to) {
        int count = MapFormat.count(run);
        long entry = run + MapFormat.ROOT_HEADER;
        if (userKey != 0) {
            while (count > 0) {
                int order = Memory.compare(MapFormat.keyOf(entry), MapFormat.keyLengthOf(entry), userKey, userKeyLength);
                if (order > 0 || inclusive && order == 0) {
                    break;
                }
                entry = MapFormat.next(entry);
                count--;
            }
        }
        to.load(entry, count, last);
        return count > 0;
    }

    @Override
    public void close() {
        editor.close();
        root.close();
        pageKey.close();
        removed.close();
    }
}
