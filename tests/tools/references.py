"""Norms in NumPy, sample by sample and channel by channel, so that they share nothing with the code under test.

Inputs are (batch, height, width, channels) in float64, weights likewise.
"""

import numpy as np

SHAPE = (3, 3, 2, 4)  # batch, height, width, channels
EPSILON = 1e-3


def _standardized(part, epsilon):
    return (part - part.mean()) / np.sqrt(part.var() + epsilon)


def _scaled(part, epsilon):
    return part / np.sqrt((part**2).mean() + epsilon)


def batch_norm(x, gamma, beta, epsilon=EPSILON):
    out = np.empty_like(x)
    for c in range(x.shape[3]):
        out[..., c] = gamma[c] * _standardized(x[..., c], epsilon) + beta[c]
    return out


def batch_norm_inference(x, gamma, beta, mean, variance, epsilon=EPSILON):
    out = np.empty_like(x)
    for c in range(x.shape[3]):
        out[..., c] = gamma[c] * (x[..., c] - mean[c]) / np.sqrt(variance[c] + epsilon) + beta[c]
    return out


def layer_norm_image(x, gamma, beta, epsilon=EPSILON):
    return np.stack([gamma * _standardized(sample, epsilon) + beta for sample in x])


def layer_norm_pixel(x, gamma, beta, epsilon=EPSILON):
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:3]):
        out[place] = gamma * _standardized(x[place], epsilon) + beta
    return out


def group_norm(x, gamma, beta, groups, epsilon=EPSILON):
    out = np.empty_like(x)
    size = x.shape[3] // groups
    for n in range(x.shape[0]):
        for start in range(0, x.shape[3], size):
            group = slice(start, start + size)
            out[n, ..., group] = gamma[group] * _standardized(x[n, ..., group], epsilon) + beta[group]
    return out


def rms_norm_pixel(x, scale, epsilon=EPSILON):
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:3]):
        out[place] = scale * _scaled(x[place], epsilon)
    return out


def rms_norm_image(x, scale, epsilon=EPSILON):
    return np.stack([scale * _scaled(sample, epsilon) for sample in x])


def filter_response_norm(x, gamma, beta, epsilon=EPSILON):
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[3]):
            out[n, ..., c] = gamma[c] * _scaled(x[n, ..., c], epsilon) + beta[c]
    return out


def threshold(x, tau, alpha=0.0):
    other = alpha * x + tau
    return np.where(x > other, x, other)


def standardize_kernel(kernel, epsilon=EPSILON):
    return np.stack([_standardized(kernel[..., o], epsilon) for o in range(kernel.shape[3])], axis=-1)
