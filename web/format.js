// SPDX-License-Identifier: Apache-2.0
// Figures and times for people.

const STEPS = ["", "k", "M", "G", "T", "P"];

/** 1234567 as "1.23 M": three digits, so that a figure that moves does not jump. */
function scaled(value) {
    let step = 0;
    while (value >= 999.5 && step < STEPS.length - 1) {
        value /= 1000;
        step++;
    }
    const digits = value >= 99.95 || (step === 0 && Number.isInteger(value)) ? 0 : value >= 9.995 ? 1 : 2;
    return [value.toFixed(digits), STEPS[step]];
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

export function bytes(value) {
    if (!known(value))
        return "–";
    const [figure, step] = scaled(value);
    return `${figure} ${step}B`;
}

export const byteRate = (value) => (known(value) ? `${bytes(value)}/s` : "–");

export function count(value) {
    if (!known(value))
        return "–";
    const [figure, step] = scaled(value);
    return step ? `${figure} ${step}` : figure;
}

export const packetRate = (value) => (known(value) ? `${count(value)} p/s` : "–");
export const rate = (value) => (known(value) ? `${count(value)}/s` : "–");

/** In full, with thin gaps between the thousands. */
export const whole = (value) => (known(value) ? value.toLocaleString("en").replaceAll(",", "\u202f") : "–");

const two = (n) => String(n).padStart(2, "0");

export function clock(time) {
    const at = new Date(time);
    return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function moment(time) {
    const at = new Date(time), today = new Date().toDateString() === at.toDateString();
    return today ? clock(at) : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(at)}`;
}

export function duration(seconds) {
    if (seconds < 60)
        return `${seconds} s`;
    return seconds < 3600 ? `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`
        : `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
}
