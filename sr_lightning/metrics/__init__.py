"""Image quality metrics: PSNR and SSIM as in the papers, and perceptual ones."""
