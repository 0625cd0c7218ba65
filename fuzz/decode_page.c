/* What: pages of any bytes. What is valid, the builder builds again byte for byte, and each of its keys is found in it. */
#include <string.h>
#include "format/page.h"
#include "support/volume.h"

const size_t fuzz_size_max = 4096;

static struct page_builder *builder(void) {
  static struct mem mem;
  static struct page_builder *one; /* emptied by each finish */
  if (!one) {
    mem_init(&mem, NULL);
    one = page_builder_create(&mem);
    if (!one) FUZZ_FAIL("no memory");
  }
  return one;
}

static void find(const struct page *page, uint32_t index, struct wodan_slice key, const uint8_t *scratch) {
  bool exact;
  FUZZ_CHECK(page_lower_bound(page, key, &exact) == index && exact);
  struct wodan_slice shorter = {key.data, key.size ? key.size - 1 : 0}, longer = {scratch, key.size + 1};
  FUZZ_CHECK(page_lower_bound(page, shorter, &exact) <= index);
  FUZZ_CHECK(page_lower_bound(page, longer, &exact) ==
             index + 1); /* with a zero byte behind: the next key there can be */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t key[4096 + 1], out[4096];
  if (size > sizeof out || !page_validate(data, size)) return 0;
  struct page page = page_view(data);
  FUZZ_CHECK(page.size == size && page.count > 0);
  struct page_builder *b = builder();
  for (uint32_t i = 0; i < page.count; i++) {
    struct page_record record = page_record(&page, i);
    size_t key_size = page_key(&page, i, key);
    key[key_size] = 0;
    find(&page, i, (struct wodan_slice){key, key_size}, key);
    struct record again = {{key, key_size}, record.sequence, record.kind, record.value};
    size_t before = page_builder_size(b);
    bool over;
    if (!page_builder_add_within(b, &again, size, &over)) FUZZ_FAIL("no memory");
    FUZZ_CHECK(!over && page_builder_size(b) > before);
  }
  FUZZ_CHECK(page_builder_count(b) == page.count && page_builder_size(b) == size);
  page_builder_finish(b, out);
  FUZZ_CHECK(memcmp(out, data, size) == 0);
  return 0;
}

/* The heads and offsets that the records ask for, where they lie where the table says; so that a change of a key is a page. */
static void straighten(uint8_t *data, size_t size) {
  if (size < PAGE_HEADER_SIZE) return;
  store_u32(data, (uint32_t)size);
  data[10] = 2;
  data[11] = 0;
  size_t count = load_u32(data + 4), arrays = PAGE_HEADER_SIZE + count * 6, prefix = load_u16(data + 8);
  if (count == 0 || count > size / 6 || arrays + prefix > size) return;
  struct wire_reader r = wire_reader(data, size);
  r.at = arrays + prefix;
  for (size_t i = 0; i < count; i++) {
    store_u16(data + PAGE_HEADER_SIZE + count * 4 + i * 2, (uint16_t)r.at);
    uint64_t suffix = wire_get_varint(&r), value = wire_get_varint(&r) >> 3;
    wire_get_varint(&r);
    if (r.failed || suffix > size || value > size) return;
    const uint8_t *key = wire_get_bytes(&r, (size_t)suffix);
    wire_get_bytes(&r, (size_t)value);
    if (r.failed) return;
    uint32_t head = 0;
    for (size_t k = 0; k < 4 && k < suffix; k++) head |= (uint32_t)key[k] << (24 - 8 * k);
    store_u32(data + PAGE_HEADER_SIZE + i * 4, head);
  }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, size_max);
  if (seed % 4) straighten(data, size); /* a page has no checksum of its own */
  return size;
}

size_t fuzz_seed(unsigned number, uint8_t *out, size_t size_max) {
  static const unsigned counts[] = {1, 3, 20, 60};
  if (number >= 4 || size_max < 4096) return 0;
  struct page_builder *b = builder();
  for (unsigned i = 0; i < counts[number]; i++) {
    uint8_t key[64];
    size_t size = 0;
    while (size < 8 + i % 5) key[size] = (uint8_t)('a' + size), size++;
    key[2 + number] = (uint8_t)i;
    struct record record = {{key, size}, 1000 - i, i % 7 == 3 ? RECORD_DELETE : RECORD_PUT, {key, i % 9}};
    if (record.kind == RECORD_DELETE) record.value.size = 0;
    if (!page_builder_add(b, &record)) FUZZ_FAIL("no memory");
  }
  size_t size = page_builder_size(b);
  page_builder_finish(b, out);
  return size;
}
