// SPDX-License-Identifier: Apache-2.0
// Calls of the API. An answer that is not 2xx is thrown as a Problem; one that never came, as one of status 0.

export class Problem extends Error {
    constructor(status, document) {
        super(document.detail || document.title || `status ${status}`);
        this.status = status;
        this.code = document.code || "";
        this.title = document.title || "";
        this.errors = document.errors || [];
        this.operation = document.operation;
        this.errno = document.errno;
        this.retryAfter = 0;
    }
}

let signedOut = () => {};
/** Who is called when an answer is 401. */
export const onSignedOut = (f) => {
    signedOut = f;
};

/** {status, etag, json}. */
export async function call(method, path, body, headers = {}) {
    let answer;
    const options = {method, headers: {...headers}, cache: "no-store", credentials: "same-origin"};
    if (body !== undefined && body !== null) {
        options.body = typeof body === "string" ? body : JSON.stringify(body);
        options.headers["Content-Type"] = "application/json";
    }
    try {
        answer = await fetch(path, options);
    } catch {
        throw new Problem(0, {detail: "The daemon cannot be reached.", code: "unreachable"});
    }
    const text = await answer.text();
    let json = null;
    try {
        json = text ? JSON.parse(text) : null;
    } catch {
        throw new Problem(answer.status, {detail: `status ${answer.status}, and the answer is not JSON`});
    }
    if (answer.ok)
        return {status: answer.status, etag: answer.headers.get("ETag"), json};
    const problem = new Problem(answer.status, json || {});
    problem.retryAfter = Number(answer.headers.get("Retry-After") || 0);
    if (answer.status === 401 && path !== "/v1/session")
        signedOut();
    throw problem;
}

export const get = async (path) => (await call("GET", path)).json;
export const devicePath = (name) => `/v1/devices/${encodeURIComponent(name)}`;

/** A device's document without what it does just now: what PUT takes. */
export function bare(device) {
    const {status, ...document} = device;
    return document;
}

/** Single quotes, as a shell reads them. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(device, overSocket) {
    const {name, ...document} = bare(device), path = devicePath(name), json = quoted(JSON.stringify(document, null, 2));
    if (overSocket)
        return `curl --unix-socket /run/tunwright/api.sock -X PUT http://localhost${path} --json ${json}`;
    return `curl -H "Authorization: Bearer $token" -X PUT ${location.origin}${path} --json ${json}`;
}
