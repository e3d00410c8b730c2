using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench.Works;

/// <summary>What moves or converts values and computes little: batches of images, permutations, concatenation, reshapes, conversions.</summary>
internal static class RearrangementWorks
{
    public static IEnumerable<KernelWork> Of(WorkScale scale)
    {
        int side = scale.Image(32), channels = scale.Width(64);
        Shape image = new(scale.Batch, side, side, channels);
        long once = image.StorageCount;
        KernelWork Work(string family, string name, Func<int, long> bytes, Func<Device, WorkArrays, Action> prepare, PeerWork? peer = null) =>
            new(family, name, WorkLimit.Memory, bytes, 0, prepare, peer);

        Shape pictures = new(scale.Batch, side, side, 3);
        yield return Work(
            "images", $"batch of images {side}², cropped and mirrored", element => pictures.ElementCount + pictures.StorageCount * element + 3L * sizeof(int) * scale.Batch,
            (device, arrays) => PrepareImages(device, arrays, pictures));
        Shape permuted = new(scale.Batch, channels, side, side);
        yield return Work(
            "rearrangement", "permutation, channels first", element => (once + permuted.StorageCount) * element,
            (device, arrays) =>
            {
                DeviceBuffer x = arrays.Activation(image), y = arrays.ActivationResult("permuted", permuted);
                return () => device.Elementwise.Permute(image, [0, 3, 1, 2], x, y);
            },
            PeerWork.Permutation(image));
        Shape both = new(scale.Batch, side, side, 2 * channels);
        yield return Work(
            "rearrangement", "concatenation of channels", element => (2 * once + both.StorageCount) * element,
            (device, arrays) =>
            {
                DeviceBuffer x = arrays.Activation(image), y = arrays.Activation(image), z = arrays.ActivationResult("both", both);
                return () =>
                {
                    device.Elementwise.CopyChannels(image.Rows, channels, channels, 0, x, 2 * channels, 0, z, GradientMode.Overwrite);
                    device.Elementwise.CopyChannels(image.Rows, channels, channels, 0, y, 2 * channels, channels, z, GradientMode.Overwrite);
                };
            },
            PeerWork.Concatenation(image));

        // The pitch changes, and with it every place; padding is written and not read.
        Shape odd = new(scale.Batch, side, side, scale.Width(37)), flat = new(scale.Batch, side * side * odd.Channels);
        yield return Work("rearrangement", "reshape", element => (odd.ElementCount + flat.StorageCount) * element, (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(odd), y = arrays.ActivationResult("flat", flat);
            return () => device.Elementwise.Reshape(odd, x, flat, y, GradientMode.Overwrite);
        });
        yield return Work("rearrangement", "reshape to float32", element => odd.ElementCount * element + flat.StorageCount * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Activation(odd), y = arrays.Result("flat", flat);
            return () => device.Elementwise.Reshape(odd, x, flat, y, GradientMode.Overwrite);
        });
        yield return Work("rearrangement", "reshape from float32", element => odd.StorageCount * element + flat.ElementCount * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Parameter(flat), y = arrays.ActivationResult("image", odd);
            return () => device.Elementwise.Reshape(flat, x, odd, y, GradientMode.Overwrite);
        });
        foreach (bool widens in (bool[])[true, false])
        {
            yield return Work("elementwise", widens ? "bfloat16 to float32" : "float32 to bfloat16", _ => once * (sizeof(float) + sizeof(ushort)), (device, arrays) =>
            {
                if (arrays.Activations == ElementType.Float32 && !arrays.AreReference)
                {
                    throw new NotSupportedException($"in {device.Precision.ToString().ToLowerInvariant()} all activations are float32");
                }

                DeviceBuffer x = widens ? arrays.Activation(image) : arrays.Parameter(image), y = widens ? arrays.Result("converted", image) : arrays.ActivationResult("converted", image);
                return () =>
                {
                    if (x.Type == y.Type)
                    {
                        device.Copy(x, y);
                        return;
                    }

                    device.Elementwise.Convert(image, x, y, GradientMode.Overwrite);
                };
            });
        }

        yield return Work("elementwise", "fill", element => once * element, (device, arrays) =>
        {
            DeviceBuffer y = arrays.ActivationResult("filled", image);
            return () => device.Elementwise.Fill(image, y, 1);
        });
        yield return Work("elementwise", "exponential", _ => 2 * once * sizeof(float), (device, arrays) =>
        {
            DeviceBuffer x = arrays.Parameter(image), y = arrays.Result("exponential", image);
            return () => device.Elementwise.Unary(UnaryOperation.Exponential, image, x, y);
        });
    }

    private static Action PrepareImages(Device device, WorkArrays arrays, Shape pictures)
    {
        int batch = pictures[0], side = pictures[1], count = 4 * batch;
        byte[] pixels = [.. Enumerable.Range(0, count * side * side * 3).Select(i => (byte)(i * 2654435761 >> 24))];
        ImageSet set = new(
            arrays.Bytes(pixels), arrays.Integers([.. Enumerable.Range(0, count).Select(i => i % 10)]), side, side, 3, arrays.Parameter(new Shape(3), 0.01f), arrays.Parameter(new Shape(3)), CropPadding: 4, Flip: true);
        ImageSelection selection = new(
            batch, arrays.Integers([.. Enumerable.Range(0, count).Select(i => (i * 7 + 3) % count)]), arrays.Integers([batch, 12345, 67890]), Skip: 0, Stream: 1, Augments: true);
        DeviceBuffer images = arrays.ActivationResult("images", pictures), labels = arrays.Result("labels", new Shape(batch), ElementType.Int32);
        return () => device.Images.Assemble(set, selection, images, labels);
    }
}
