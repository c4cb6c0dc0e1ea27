"""Image quality metrics: PSNR and SSIM by the papers' protocol, and the perceptual ones."""
