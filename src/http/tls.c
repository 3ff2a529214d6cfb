/* SPDX-License-Identifier: Apache-2.0 */
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM_MAX (1U << 20)

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void text_wipe(char **text, size_t length)
{
    if (*text)
        OPENSSL_cleanse(*text, length);
    free(*text);
    *text = NULL;
}

static int read_all(int fd, char *out, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t got = read(fd, out + done, length - done);
        if (got == 0)
            return -EIO;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0)
            done += (size_t)got;
    }
    return 0;
}

/* Symbolic links are followed: that is how tools that renew certificates put them in place. Read without stdio, whose
 * buffer would keep a copy. */
static int file_read(const char *path, bool is_secret, uint32_t owner, char **ret_text, size_t *ret_length,
                     struct err *ret_err)
{
    struct stat file;
    int fd CLEANUP(fd_done) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot read %s", path);
    if (fstat(fd, &file) < 0)
        return err_set_kernel(ret_err, -errno, "fstat", "cannot read %s", path);
    if (!S_ISREG(file.st_mode) || file.st_size <= 0 || file.st_size > PEM_MAX)
        return err_set(ret_err, -EINVAL, ERR_INTERNAL, "", "%s is not a file with something in PEM", path);
    if (is_secret && ((file.st_uid != 0 && file.st_uid != owner && file.st_uid != geteuid()) || (file.st_mode & 077)))
        return err_set(ret_err, -EPERM, ERR_INTERNAL, "",
                       "%s must belong to root or to user %u, and nobody else may be able to read it (chmod 600)", path,
                       owner);
    size_t length = (size_t)file.st_size;
    char *text = malloc(length + 1);
    if (!text)
        return err_no_memory(ret_err);
    int error = read_all(fd, text, length);
    text[length] = '\0';
    if (!error && strlen(text) != length)
        error = -EINVAL;
    if (error) {
        text_wipe(&text, length);
        return err_set_kernel(ret_err, error, "read", "cannot read %s", path);
    }
    *ret_text = text;
    *ret_length = length;
    return 0;
}

/* Beforehand, for what takes certificate and key together loses memory over a certificate that is none (GnuTLS 3.7). */
static int check_certificate(const char *path, gnutls_datum_t *text, struct err *ret_err)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned count = 0;
    int result = gnutls_x509_crt_list_import2(&chain, &count, text, GNUTLS_X509_FMT_PEM, 0);
    if (result < 0)
        return err_set(ret_err, -EINVAL, ERR_INTERNAL, "", "the certificate %s cannot be used: %s", path,
                       gnutls_strerror(result));
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    return 0;
}

/* What the library would only log: whether the files are what they should be, and go together. */
static int check(const struct http_tls *tls, const struct http_tls_files *files, struct err *ret_err)
{
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t certificate = {(unsigned char *)tls->certificate, (unsigned)strlen(tls->certificate)};
    gnutls_datum_t key = {(unsigned char *)tls->key, (unsigned)tls->key_length};
    int error = check_certificate(files->certificate, &certificate, ret_err);
    if (error)
        return error;
    if (gnutls_certificate_allocate_credentials(&credentials))
        return err_no_memory(ret_err);
    int result = gnutls_certificate_set_x509_key_mem2(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (result < 0)
        error = err_set(ret_err, -EINVAL, ERR_INTERNAL, "", "the certificate %s and the key %s cannot be used: %s",
                        files->certificate, files->key, gnutls_strerror(result));
    if (!error && tls->client_ca) {
        gnutls_datum_t trust = {(unsigned char *)tls->client_ca, (unsigned)strlen(tls->client_ca)};
        result = gnutls_certificate_set_x509_trust_mem(credentials, &trust, GNUTLS_X509_FMT_PEM);
        if (result <= 0)
            error = err_set(ret_err, -EINVAL, ERR_INTERNAL, "", "there is no certificate in %s that can be used",
                            files->client_ca);
    }
    gnutls_certificate_free_credentials(credentials);
    return error;
}

int http_tls_load(const struct http_tls_files *files, uint32_t owner, struct http_tls **ret_tls, struct err *ret_err)
{
    size_t length;
    struct http_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return err_no_memory(ret_err);
    int error = file_read(files->certificate, false, owner, &tls->certificate, &length, ret_err);
    if (!error)
        error = file_read(files->key, true, owner, &tls->key, &tls->key_length, ret_err);
    if (!error && files->client_ca)
        error = file_read(files->client_ca, false, owner, &tls->client_ca, &length, ret_err);
    if (!error)
        error = check(tls, files, ret_err);
    if (error) {
        http_tls_free(tls);
        return error;
    }
    *ret_tls = tls;
    return 0;
}

void tls_wipe_key(struct http_tls *tls)
{
    text_wipe(&tls->key, tls->key_length);
    tls->key_length = 0;
}

void http_tls_free(struct http_tls *tls)
{
    if (!tls)
        return;
    tls_wipe_key(tls);
    free(tls->certificate);
    free(tls->client_ca);
    free(tls);
}

/* ---- the client's certificate ------------------------------------------------------------------------------------ */

/* The first of the reasons that there are, in words. */
static const char *reason_of(unsigned status)
{
    static const struct {
        unsigned flag;
        const char *text;
    } reasons[] = {
        {GNUTLS_CERT_SIGNER_NOT_FOUND, "it is not from the authority that this server trusts"},
        {GNUTLS_CERT_SIGNER_NOT_CA, "what signed it is no authority"},
        {GNUTLS_CERT_REVOKED, "it was revoked"},
        {GNUTLS_CERT_EXPIRED, "it has expired"},
        {GNUTLS_CERT_NOT_ACTIVATED, "its time has not come yet"},
        {GNUTLS_CERT_PURPOSE_MISMATCH, "it is not for a client"},
        {GNUTLS_CERT_INSECURE_ALGORITHM, "its signature is of a kind that is no longer safe"},
        {GNUTLS_CERT_SIGNATURE_FAILURE, "its signature is wrong"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (status & reasons[i].flag)
            return reasons[i].text;
    return "it cannot be verified";
}

/* Nothing where there are several, or where it could not be a token's name: two readers of a certificate must not see
 * two names. */
static void common_name_read(gnutls_x509_crt_t certificate, char out[static TOKEN_NAME_SIZE])
{
    char second[TOKEN_NAME_SIZE];
    size_t size = TOKEN_NAME_SIZE, second_size = sizeof second;
    int result = gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &size);
    bool several = gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 1, 0, second,
                                                 &second_size) != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
    if (result < 0 || several || strlen(out) != size)
        *out = '\0';
}

static int leaf_read(gnutls_session_t session, struct tls_peer *ret_peer)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t leaf;
    if (!chain || !count || gnutls_x509_crt_init(&leaf))
        return -ENOMEM;
    int error = gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) ? -EINVAL : 0;
    if (!error) {
        time_t until = gnutls_x509_crt_get_expiration_time(leaf);
        ret_peer->expires_ns = until < INT64_MAX / NSEC_PER_SEC ? until * NSEC_PER_SEC : INT64_MAX;
        common_name_read(leaf, ret_peer->common_name);
    }
    gnutls_x509_crt_deinit(leaf);
    return error;
}

int tls_peer_verify(struct MHD_Connection *connection, struct tls_peer *ret_peer, struct err *ret_err)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    gnutls_session_t session = info ? info->tls_session : NULL;
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
    unsigned status = 0;
    int result = session ? gnutls_certificate_verify_peers(session, &purpose, 1, &status) : GNUTLS_E_INTERNAL_ERROR;
    if (result == GNUTLS_E_NO_CERTIFICATE_FOUND)
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "this address is for clients with a certificate");
    if (result < 0 || status)
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "the client's certificate is not accepted: %s",
                       result < 0 ? gnutls_strerror(result) : reason_of(status));
    if (leaf_read(session, ret_peer))
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "the client's certificate cannot be read");
    return 0;
}
