namespace Saturn.Kernels.Families;

/// <summary>A set of labelled images in device memory, and how its pixels become network inputs.</summary>
/// <param name="Images">Bytes [count, height, width, channels].</param>
/// <param name="Labels">int32, one an image.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Channels">Channels.</param>
/// <param name="Scale">float32 by channel: 1/(255·standard deviation).</param>
/// <param name="Offset">float32 by channel: −mean/standard deviation.</param>
/// <param name="CropPadding">Zero pixels around an image before a random crop of the original size; 0 for no crop.</param>
/// <param name="Flip">Whether half of the images are mirrored.</param>
public readonly record struct ImageSet(
    DeviceBuffer Images, DeviceBuffer Labels, int Height, int Width, int Channels, DeviceBuffer Scale, DeviceBuffer Offset, int CropPadding, bool Flip);

/// <summary>Which images of a set a batch holds. Where it stands is read from device memory when the kernel runs, so that a recorded step goes on through the epoch.</summary>
/// <param name="Count">Images of the batch.</param>
/// <param name="Order">int32: the numbers of the images in the order of the epoch.</param>
/// <param name="Position">Three 32-bit words: where in the order the step begins, and the two words of the epoch's key (<see cref="Philox.DeriveKey"/> of seed and epoch).</param>
/// <param name="Skip">Images of the step before this batch.</param>
/// <param name="Stream">What the random numbers are for.</param>
/// <param name="Augments">Whether images are cropped and mirrored.</param>
public readonly record struct ImageSelection(int Count, DeviceBuffer Order, DeviceBuffer Position, int Skip, uint Stream, bool Augments);

/// <summary>
/// Batches out of a set of images in device memory. An image is moved and mirrored by draws that follow from key and image number alone (<see cref="PhiloxSequence"/> of the image's number): down and right, 0 … 2·padding
/// each, less the padding, and whether it is mirrored. Pixel (r, c) then takes that of row r + down and column c' + right, where c' = c or width − 1 − c, as value·scale + offset, two roundings, or zero outside of the image.
/// </summary>
public interface IImageKernels
{
    /// <summary>Writes a batch.</summary>
    /// <param name="set">The set.</param>
    /// <param name="selection">Which images of it.</param>
    /// <param name="images">[count, height, width, channels], pitched, padding zero: float32, or bfloat16 to nearest even (<see cref="DeviceBuffer.Type"/>), which the host processor does not write.</param>
    /// <param name="labels">int32 [count].</param>
    void Assemble(in ImageSet set, in ImageSelection selection, DeviceBuffer images, DeviceBuffer labels);
}
