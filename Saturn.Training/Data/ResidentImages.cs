using System.Runtime.InteropServices;
using Saturn.Engine;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Training.Data;

/// <summary>
/// The training images in device memory, as bytes, and where in which epoch the steps stand. Batches are assembled there, with the crops and flips that <see cref="BatchAssembler"/> gives them on the
/// host. The order of an epoch is uploaded once; a step uploads three words.
/// </summary>
internal sealed class ResidentImages : IDisposable
{
    // Pieces of an upload, so that it takes little page-locked memory.
    private const int Piece = 1 << 20;
    private const int PiecesUnderWay = 8;

    private readonly Device device;
    private readonly ImageDataset dataset;
    private readonly ulong seed;
    private readonly bool augment;
    private readonly DeviceBuffer images;
    private readonly Tensor labels;
    private readonly Tensor scale;
    private readonly Tensor offset;
    private readonly Tensor order;
    private readonly Tensor position;
    private (uint Key0, uint Key1) key;
    private uint next;

    /// <summary>Uploads a set.</summary>
    /// <param name="device">Where the steps run.</param>
    /// <param name="dataset">The training images.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="augment">Whether images are cropped and flipped.</param>
    public ResidentImages(Device device, ImageDataset dataset, ulong seed, bool augment)
    {
        this.device = device;
        this.dataset = dataset;
        this.seed = seed;
        this.augment = augment;
        BatchAssembler assembler = new(dataset);
        images = device.Memory.Allocate(dataset.Images.LongLength);
        for (int first = 0, piece = 1; first < dataset.Images.Length; first += Piece, piece++)
        {
            int bytes = Math.Min(Piece, dataset.Images.Length - first);
            device.Upload(dataset.Images.AsSpan(first, bytes), images.Slice(first, bytes));
            if (piece % PiecesUnderWay == 0)
            {
                device.Synchronize();
            }
        }

        labels = Words<int>(dataset.Labels);
        scale = Words(assembler.Scale);
        offset = Words(assembler.Offset);
        order = Tensor.AllocateUnscoped(device, new Shape(dataset.Count), ElementType.Int32);
        position = Tensor.AllocateUnscoped(device, new Shape(3), ElementType.Int32);
    }

    /// <summary>Bytes that a set takes on a device.</summary>
    public static long BytesOf(ImageDataset dataset) => dataset.Images.LongLength + 2L * sizeof(int) * dataset.Count;

    /// <summary>Opens an epoch.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="firstImage">Where in its order to begin.</param>
    public void BeginEpoch(int epoch, int firstImage)
    {
        order.CopyFromStored<int>(EpochOrder.Of(dataset.Count, seed, epoch));
        key = Philox.DeriveKey(seed, (ulong)epoch);
        next = (uint)firstImage;
    }

    /// <summary>Tells the device where the next step begins.</summary>
    /// <param name="imagesOfStep">Images that the step takes.</param>
    public void BeginStep(int imagesOfStep)
    {
        position.CopyFromStored<uint>([next, key.Key0, key.Key1]);
        next += (uint)imagesOfStep;
    }

    /// <summary>Assembles a batch of the step in the current scope.</summary>
    /// <param name="count">Images.</param>
    /// <param name="skip">Images of the step before these.</param>
    public (Tensor Images, Tensor Labels) Assemble(int count, int skip)
    {
        Tensor x = Tensor.Allocate(device, new Shape(count, dataset.Height, dataset.Width, dataset.Channels));
        Tensor y = Tensor.Allocate(device, new Shape(count), ElementType.Int32);
        ImageSet set = new(
            images, labels.Buffer, dataset.Height, dataset.Width, dataset.Channels, scale.Buffer, offset.Buffer, dataset.Preparation.CropPadding, dataset.Preparation.Flip);
        device.Images.Assemble(set, new ImageSelection(count, order.Buffer, position.Buffer, skip, BatchAssembler.AugmentationStream, augment), x.Buffer, y.Buffer);
        return (x, y);
    }

    /// <summary>Frees the device memory.</summary>
    public void Dispose()
    {
        device.Memory.Free(images);
        labels.Dispose();
        scale.Dispose();
        offset.Dispose();
        order.Dispose();
        position.Dispose();
    }

    private Tensor Words<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        Tensor tensor = Tensor.AllocateUnscoped(device, new Shape(values.Length), ElementType.Int32);
        device.Upload(MemoryMarshal.AsBytes(values), tensor.Buffer);
        return tensor;
    }
}
