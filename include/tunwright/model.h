/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model: the device document as plain structs: parse, validate, compare, print.
 *
 * Everything here is a pure function of its arguments. A `struct device` that left device_parse is normalised:
 * two documents that mean the same compare equal and print the same bytes, and what is printed parses to itself.
 */
#ifndef TUNWRIGHT_MODEL_H
#define TUNWRIGHT_MODEL_H

#include "tunwright/base.h"

#include <sys/socket.h>

struct cJSON;

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* An IPv4 or IPv6 address in network byte order; `family` is AF_INET, AF_INET6, or 0 for "none". Bytes past the
 * family's size are zero, so that two may be compared as memory. */
struct ip_addr {
    uint8_t family;
    uint8_t bytes[16];
};

struct ip_prefix {
    struct ip_addr addr;
    uint8_t length; /* bits, 0 to 32 or 128 */
};

struct endpoint {
    struct ip_addr addr;
    uint16_t port; /* host byte order */
};

#define IP_ADDR_TEXT_SIZE   46
#define IP_PREFIX_TEXT_SIZE 50
#define ENDPOINT_TEXT_SIZE  56

/* inet_pton(3)'s forms without a zone; printed by RFC 5952. An IPv4-mapped IPv6 address is -EINVAL. */
int ip_addr_parse(const char *text, struct ip_addr *ret_addr);
const char *ip_addr_print(const struct ip_addr *addr, char out[static IP_ADDR_TEXT_SIZE]);
bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b);
bool ip_addr_is_any(const struct ip_addr *addr);
bool ip_addr_is_multicast(const struct ip_addr *addr);
size_t ip_addr_size(const struct ip_addr *addr); /* 4 or 16 */

/* "192.168.3.11/24". Host bits are kept: ask ip_prefix_has_host_bits. */
int ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix);
const char *ip_prefix_print(const struct ip_prefix *prefix, char out[static IP_PREFIX_TEXT_SIZE]);
bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_has_host_bits(const struct ip_prefix *prefix);
/* The same prefix with its host bits cleared. */
struct ip_prefix ip_prefix_network(const struct ip_prefix *prefix);
bool ip_prefix_same_network(const struct ip_prefix *a, const struct ip_prefix *b);

/* "10.32.0.11:5000" or "[2001:db8::1]:5000"; port 1 to 65535. */
int endpoint_parse(const char *text, struct endpoint *ret_endpoint);
const char *endpoint_print(const struct endpoint *endpoint, char out[static ENDPOINT_TEXT_SIZE]);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
socklen_t endpoint_to_sockaddr(const struct endpoint *endpoint, struct sockaddr_storage *ret_address);
/* -EAFNOSUPPORT for another family than IPv4 and IPv6. */
int endpoint_from_sockaddr(const struct sockaddr_storage *address, struct endpoint *ret_endpoint);

/* ---- names ------------------------------------------------------------------------------------------------------- */

#define DEVICE_NAME_SIZE 16  /* IFNAMSIZ: 15 characters and the NUL */
#define NETNS_NAME_SIZE  128 /* a file name under /run/netns */

/* 1 to 15 characters, [A-Za-z0-9][A-Za-z0-9_.-]*, not all digits, none of all, default, lo. The kernel would take
 * more and change some of it in silence (net/core/dev.c:dev_valid_name, dev_prep_valid_name). */
bool device_name_is_valid(const char *name);
/* As above for POST, where the name may also end in "%d" (at most 15 characters with it). */
bool device_name_pattern_is_valid(const char *name);
/* Of a network interface that is not ours: 1 to 15 of A-Z a-z 0-9 _ . @ + -, and it begins with none of the last four. */
bool interface_name_is_valid(const char *name);
/* [A-Za-z0-9][A-Za-z0-9_.-]*, at most 127 characters: it becomes a file name. */
bool netns_name_is_valid(const char *name);

/* ---- the device document ----------------------------------------------------------------------------------------- */

/* Each enum has X_name(value) → text and X_parse(text, &ret) → 0 or -EINVAL. */
enum device_kind { DEVICE_TUN, DEVICE_TAP, DEVICE_KIND_N };
enum route_type { ROUTE_UNICAST, ROUTE_BLACKHOLE, ROUTE_UNREACHABLE, ROUTE_PROHIBIT, ROUTE_TYPE_N };
enum worker_type { WORKER_NONE, WORKER_MONITOR, WORKER_ECHO, WORKER_UDP, WORKER_TYPE_N };
enum drift_policy { DRIFT_REPAIR, DRIFT_REPORT, DRIFT_POLICY_N };
enum udp_header { UDP_HEADER_NONE, UDP_HEADER_GUE, UDP_HEADER_N };

const char *device_kind_name(enum device_kind kind);
int device_kind_parse(const char *text, enum device_kind *ret_kind);
const char *route_type_name(enum route_type type);
int route_type_parse(const char *text, enum route_type *ret_type);
const char *worker_type_name(enum worker_type type); /* WORKER_NONE has none: "none" */
int worker_type_parse(const char *text, enum worker_type *ret_type);
const char *drift_policy_name(enum drift_policy policy);
int drift_policy_parse(const char *text, enum drift_policy *ret_policy);
const char *udp_header_name(enum udp_header header); /* "none", "gue" */
int udp_header_parse(const char *text, enum udp_header *ret_header);

struct route {
    struct ip_prefix to; /* without host bits */
    struct ip_addr via;  /* family 0: on link. Always 0 where type is not unicast */
    uint32_t metric;     /* IPv6: never 0, the kernel's default is 1024 (net/ipv6: IP6_RT_PRIO_USER) */
    uint32_t table;      /* 1 to 2^32-1, 254 is main; 255 (local) is refused */
    enum route_type type;
    struct ip_addr source; /* preferred source address; family 0: none */
};

/* What tells two routes apart in the kernel's table. */
bool route_key_equal(const struct route *a, const struct route *b); /* to, table, metric */
bool route_equal(const struct route *a, const struct route *b);
/* A route that is not unicast belongs to no device in the kernel (IPv6 shows it on lo). */
bool route_is_unattached(const struct route *route);

/* What the udp worker may use where the kernel has it; all are true by default. */
struct udp_offload {
    bool tso;         /* the device hands over TCP super-packets and unfinished checksums */
    bool uso;         /* and UDP ones; only with tso */
    bool merge;       /* super-packets are written to the device */
    bool udp_segment; /* many datagrams in one send */
    bool udp_gro;     /* and in one receive */
    bool checksum;    /* with the GUE header: inner checksums are left to the far end */
};

struct worker_config {
    enum worker_type type;
    union {
        struct {
            uint32_t log_rate; /* lines a second, 0 to 1000, default 10 */
        } monitor;
        /* A device with several queues has as many ports, one after the other: queue i goes from local's port + i to
         * remote's port + i. */
        struct {
            struct endpoint local, remote;    /* the same family; remote neither any nor multicast */
            enum udp_header header;           /* default none: the bare packet */
            uint32_t mark;                    /* SO_MARK; 0: none */
            char interface[DEVICE_NAME_SIZE]; /* SO_BINDTODEVICE; "": none */
            struct udp_offload offload;
        } udp;
    };
};
bool worker_config_equal(const struct worker_config *a, const struct worker_config *b);

#define LABEL_KEY_SIZE   64
#define LABEL_VALUE_SIZE 256
struct label {
    char key[LABEL_KEY_SIZE];     /* [A-Za-z0-9][A-Za-z0-9_.-]{0,62} */
    char value[LABEL_VALUE_SIZE]; /* UTF-8 without control characters, at most 255 bytes */
};

#define DEVICE_LABELS_MAX    64
#define DEVICE_ADDRESSES_MAX 256
#define DEVICE_ROUTES_MAX    16384
#define DEVICE_QUEUES_MAX    16
#define OWNER_NONE           UINT32_MAX /* uid or gid (uid_t)-1: not set */

struct device {
    char name[DEVICE_NAME_SIZE];
    enum device_kind kind;
    bool up;                       /* default true */
    uint32_t mtu;                  /* bytes, 68 to 65535 (tun) or 65521 (tap); default by device_default_mtu */
    uint32_t txqueuelen;           /* packets, 1 to 1000000; default 1000 */
    uint32_t queues;               /* 1 to DEVICE_QUEUES_MAX; default 1 */
    bool has_mac;                  /* false: the daemon derives a stable one from the device's uuid; tap only */
    uint8_t mac[6];                /* unicast, not zero */
    uint32_t owner, group;         /* who may attach to the queue; OWNER_NONE: nobody but root */
    char netns[NETNS_NAME_SIZE];   /* "" : the daemon's */
    char master[DEVICE_NAME_SIZE]; /* a bridge, "" : none; tap only */
    struct label *labels;          /* sorted by key */
    size_t label_count;
    struct ip_prefix *addresses; /* in the order given: the first of a subnet is its primary */
    size_t address_count;
    struct route *routes; /* sorted: those without `via` first, then by table, family, destination and metric */
    size_t route_count;
    struct worker_config worker;
    enum drift_policy drift;
};

void device_free(struct device *device);
void device_done(struct device **device); /* for CLEANUP */
struct device *device_copy(const struct device *device);
bool device_equal(const struct device *a, const struct device *b);

/* What fits into 1500 bytes of wire: 1500 without a worker that wraps, else less the outer IP, UDP, GUE and, on tap,
 * the inner Ethernet header. */
uint32_t device_default_mtu(enum device_kind kind, const struct worker_config *worker);

/* MAC that a tap without one of its own gets: locally administered, unicast, from the uuid's last bytes. */
void device_derived_mac(const struct uuid *uuid, uint8_t ret_mac[static 6]);

/* Editing a document. The add functions replace an entry of the same key (address: the same address and length; route:
 * route_key_equal); *ret_changed says whether anything is different now. Removing: -ENOENT where there is none. */
int device_address_add(struct device *device, const struct ip_prefix *address, bool *ret_changed);
int device_address_remove(struct device *device, const struct ip_prefix *address);
int device_route_add(struct device *device, const struct route *route, bool *ret_changed);
int device_route_remove(struct device *device, const struct route *key);

/* The rules between fields (an IPv6 address needs an mtu of 1280, a tun has no mac, duplicates, limits, …); each fault
 * gets a pointer into the document. device_parse calls it; call it again after an edit. 0 or -EINVAL. */
int device_validate(const struct device *device, struct err_list *errors);

/* ---- label selectors --------------------------------------------------------------------------------------------- */

/*
 * "site=berlin,tier!=test,backup,!old": terms with commas between, all of which must hold. A key alone asks that there
 * is such a label, "!key" that there is none; "key!=value" also holds where there is no such label. Blanks are not
 * skipped: they belong to the value that they stand in. A value with a comma in it cannot be asked for.
 */
#define SELECTOR_TERMS_MAX 16
#define SELECTOR_TEXT_SIZE 1024
enum selector_operator { SELECTOR_EQUAL, SELECTOR_NOT_EQUAL, SELECTOR_PRESENT, SELECTOR_ABSENT };
struct selector_term {
    enum selector_operator op;
    struct label label; /* the value only for the first two */
};
struct selector {
    size_t count; /* 0: all devices */
    struct selector_term terms[SELECTOR_TERMS_MAX];
};
/* -EINVAL with ERR_INVALID_VALUE, the pointer empty. "" is the selector of all devices. */
int selector_parse(const char *text, struct selector *ret_selector, struct err *ret_err);
bool selector_matches(const struct selector *selector, const struct device *device);

/* ---- who may ----------------------------------------------------------------------------------------------------- */

/* Each may what the one before may. */
enum role {
    ROLE_NOBODY,
    ROLE_READER,   /* looks at everything but tokens and the audit log */
    ROLE_OPERATOR, /* changes devices and the configuration */
    ROLE_ADMIN,    /* tokens and the audit log */
    ROLE_N
};
const char *role_name(enum role role); /* "nobody", "reader", … */
int role_parse(const char *text, enum role *ret_role);

enum token_kind {
    TOKEN_BEARER,      /* a secret of 256 bits, of which only the SHA-256 is kept */
    TOKEN_CERTIFICATE, /* the client certificate whose subject's common name is the token's name */
    TOKEN_KIND_N
};
const char *token_kind_name(enum token_kind kind); /* "bearer", "certificate" */
int token_kind_parse(const char *text, enum token_kind *ret_kind);

#define TOKEN_NAME_SIZE   64 /* as a label's key */
#define TOKEN_DIGEST_SIZE 32
struct token {
    char name[TOKEN_NAME_SIZE]; /* unique: it is the {id} of its path, too */
    enum token_kind kind;
    enum role role;                    /* reader, operator or admin */
    char selector[SELECTOR_TEXT_SIZE]; /* "" or one that parses: the devices that it may see and change */
    int64_t created_ns, expires_ns;    /* CLOCK_REALTIME; expires 0: never */
    uint8_t digest[TOKEN_DIGEST_SIZE]; /* SHA-256 of a bearer's secret as text, else zero */
};
/* What POST /v1/tokens takes: {"name", "role", "kind": "bearer", "selector": null, "expires": null}, `expires` an RFC 3339
 * time in UTC. created_ns and digest stay zero. */
int token_parse(const char *text, size_t length, struct token *ret_token, struct err_list *errors);
/* All but the digest; {"name", "kind", "role", "selector", "created", "expires"}. Owned; NULL: no memory. */
struct cJSON *token_to_json(const struct token *token);
/* What the audit log and a dry run show of its making or end: [{"token", "action": "created" | "deleted", "kind", "role",
 * "selector", "expires"}]. Owned text; NULL: no memory. */
char *token_change_print(const struct token *token, bool created);

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

#define JSON_DEPTH_MAX 16

/*
 * The strict pre-scan (RFC 8259, and RFC 7493 for what two readers could take differently): UTF-8, depth, one value and
 * nothing after it, number grammar, no duplicate member names, no NUL, no unpaired surrogate, no object with more than
 * 65536 members. O(n log n), no recursion deeper than JSON_DEPTH_MAX. -EINVAL with ERR_INVALID_JSON and the byte
 * offset in the message.
 */
int json_check(const char *text, size_t length, struct err *ret_err);

/* json_check, then cJSON's own parser. The caller owns the tree (cJSON_Delete). */
int json_read(const char *text, size_t length, struct cJSON **ret_json, struct err *ret_err);

/*
 * Each takes JSON text, reports every fault it finds, and returns owned structs. Unknown fields are refused, except
 * that device_parse ignores `status`, which GET answers. `name` (may be NULL) is the name in the request's path: the
 * document may leave it out, but not contradict it. `name_may_be_pattern`: POST's "tun%d".
 */
int device_parse(const char *text, size_t length, const char *name, bool name_may_be_pattern,
                 struct device **ret_device, struct err_list *errors);
/* A route whose `to` is known from the path (NULL: required in the document). */
int route_parse(const char *text, size_t length, const struct ip_prefix *to, struct route *ret_route,
                struct err_list *errors);
int worker_config_parse(const char *text, size_t length, struct worker_config *ret_worker, struct err_list *errors);

/* The normalised document, every field present, absent things as null. Owned; NULL when memory ran out. */
struct cJSON *device_to_json(const struct device *device);
struct cJSON *route_to_json(const struct route *route);
struct cJSON *worker_config_to_json(const struct worker_config *worker); /* null for WORKER_NONE */
/*
 * RFC 7396: `current` as JSON, merged with the patch, and read as device_parse reads a PUT. What the patch sets to null
 * gets its default again. Faults point into the merged document, those of the patch's own syntax to "".
 */
int device_patch(const struct device *current, const char *patch, size_t length, struct device **ret_device,
                 struct err_list *errors);

/* Several documents at once: {"devices": […], "absent": ["tun3"]}. */
struct device_set {
    struct device **devices; /* owned, sorted by name */
    size_t *places;          /* owned: where each stood in the text; NULL: as here */
    size_t count;
    char (*absent)[DEVICE_NAME_SIZE]; /* owned: names that shall not be there */
    size_t absent_count;
};
#define DEVICE_SET_MAX 4096
void device_set_done(struct device_set *set);
/* Pointers begin with /devices/<place in the text>. Two devices of one name are a fault; so is a name both there and
 * absent. `may_be_part`: `absent` is known, and a lone device document is taken as a config of one (a start-up file). */
int device_set_parse(const char *text, size_t length, bool may_be_part, struct device_set *ret_set,
                     struct err_list *errors);
/* {"devices": […]} of documents without status, as they come. Owned; NULL: no memory. */
struct cJSON *device_set_to_json(const struct device *const *devices, size_t count);

/* What a change did to one device. */
enum difference_action {
    DIFFERENCE_CREATED,
    DIFFERENCE_CHANGED,
    DIFFERENCE_DELETED,
    DIFFERENCE_ADOPTED,  /* it was there and somebody else's */
    DIFFERENCE_RELEASED, /* it stays in the kernel, and is nobody's of ours */
    DIFFERENCE_ACTION_N
};
struct difference {
    enum difference_action action;
    const struct device *before, *after; /* borrowed; NULL: there was, or is, none */
};
/*
 * [{"device": "tun0", "action": "changed", "patch": {"mtu": 1400}}, …]: `patch` is the RFC 7396 merge patch that leads
 * from before to after: the whole document where there was none, null where there is none. Secrets in a document, where
 * there are any, are left out. This is what the audit log and a dry run show. Owned text; NULL: no memory.
 */
char *differences_print(const struct difference *differences, size_t count);

/* device_to_json as compact text: the form that is stored. */
char *device_print(const struct device *device);
char *route_print(const struct route *route); /* the same of route_to_json */

/* ---- what a worker is started with ------------------------------------------------------------------------------- */

#define WORKER_PROGRAM_SIZE 64 /* a file name in netd's worker directory */
#define WORKER_SOCKETS_MAX  16
#define SOCKET_SPECS_MAX    4
#define WORKER_CONFIG_MAX   65536 /* bytes of JSON */

/* One socket, or several on consecutive ports. */
struct socket_spec {
    int32_t type;                     /* SOCK_DGRAM */
    uint32_t count;                   /* 1 to WORKER_SOCKETS_MAX, of all specs together */
    struct endpoint local;            /* of the first; the last port is 65535 at most */
    uint32_t mark;                    /* SO_MARK; 0: none */
    char interface[DEVICE_NAME_SIZE]; /* SO_BINDTODEVICE; "": none */
};
/* Whether the kernel would refuse one of them what it asks for while the other has what it asks for: 0.0.0.0 is every
 * IPv4 address, and [::] every IPv6 address. */
bool socket_specs_collide(const struct socket_spec *a, const struct socket_spec *b);

struct worker_spec {
    char program[WORKER_PROGRAM_SIZE];
    uint32_t queues;
    uint32_t socket_spec_count;
    struct socket_spec sockets[SOCKET_SPECS_MAX];
    uint64_t tag; /* FNV-1a over all the rest: equal tags, equal workers */
    char *config; /* owned JSON text: {"device": {"name", "kind"}, "worker": {…}} */
    size_t config_length;
};
void worker_spec_done(struct worker_spec *spec);
/* What the worker of a device needs; how many of them there are. */
uint32_t worker_sockets(const struct device *device, struct socket_spec ret_specs[static SOCKET_SPECS_MAX]);
/* From a device whose worker is not WORKER_NONE. -ENOMEM. */
int worker_spec_build(const struct device *device, struct worker_spec *ret_spec);

#endif
